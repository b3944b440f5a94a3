//! What the audit says of a sealing, also where the process ended within it.

use streamhub_control::deeds::Outcome;
use streamhub_control::{Connection, audit};
use streamhub_engine::{durable, seal};

use super::*;
use crate::acting::{Actor, Deed};
use crate::app_settings::CONFIGURE;
use crate::sealing::SEAL;

fn outcomes(hub: &Hub) -> Vec<(String, String)> {
    let filter = audit::Filter { tenant: None, since: None, until: None, cursor: None, limit: 9 };
    let entries = hub.registry().audit(&filter).unwrap().entries;
    entries.into_iter().map(|told| (told.entry.action, told.entry.outcome)).collect()
}

#[test]
fn a_sealing_is_told_of_with_how_it_ended() {
    for (is_there, outcome) in [(true, Outcome::Done), (false, Outcome::Failed)] {
        let site = Site::new();
        let hub = site.hub("a");
        let app = created(&hub, "news-24");
        let acting = hub.acting(Actor::new("user:ana"));
        acting.seal(&id("news-24")).unwrap();
        let sealed = (SEAL.to_owned(), Outcome::Done.to_string());
        assert_eq!(outcomes(&hub), std::slice::from_ref(&sealed));

        // As where the process ends before it is known.
        acting.begin(&Deed::of(SEAL).target("news-24"), app.id).unwrap();
        hub.close().unwrap();
        if !is_there {
            durable::remove_file(&site.path("a/apps/news-24").join(seal::FILE)).unwrap();
        }
        let hub = site.hub("a");
        assert_eq!(outcomes(&hub), [(SEAL.to_owned(), outcome.to_string()), sealed]);
        assert_eq!(hub.read(deeds_left).unwrap(), 0);
        hub.close().unwrap();
    }
}

#[test]
fn a_deletion_says_first_how_sealings_and_configurings_ended() {
    let site = Site::new();
    let hub = site.hub("a");
    let app = created(&hub, "news-24");
    let acting = hub.acting(Actor::new("user:ana"));
    // As where it could not be written down how they ended.
    acting.begin(&Deed::of(SEAL).target("news-24"), app.id).unwrap();
    acting.begin(&Deed::of(CONFIGURE).target("config.yaml"), app.id).unwrap();
    // Nobody can read this, and it is deleted all the same.
    durable::create_dir(&site.path("a/apps/news-24/config.yaml")).unwrap();
    acting.delete(&id("news-24")).unwrap();
    let told = |action: &str, outcome: Outcome| (action.to_owned(), outcome.to_string());
    assert_eq!(
        outcomes(&hub),
        [told("app.delete", Outcome::Done), told(CONFIGURE, Outcome::Failed), told(SEAL, Outcome::Failed),]
    );
    assert_eq!(hub.read(deeds_left).unwrap(), 0);
    hub.close().unwrap();
}

fn deeds_left(db: &Connection) -> streamhub_control::SqlResult<i64> {
    db.query_row("SELECT count(*) FROM _streamhub_attention WHERE kind = 'deed'", [], |row| row.get(0))
}
