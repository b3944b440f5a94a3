//! Recordings that are added and removed: a row in the app, whose file follows it.

use streamhub_appstore::WriteTx;
use streamhub_appstore::vods::{self, NewVod};

use crate::error::{HubError, Result};
use crate::lease::Lease;

impl Lease {
    /// Adds a recording of this app, whatever number it names, and returns after the commit is durable.
    pub fn create_vod(&self, new: NewVod) -> Result<vods::Vod> {
        self.write(creation(self.registered().id, new))
    }

    /// As [`create_vod`](Self::create_vod), for async callers.
    pub async fn create_vod_async(&self, new: NewVod) -> Result<vods::Vod> {
        self.write_async(creation(self.registered().id, new)).await
    }

    /// Removes a recording's row; its file follows, after the commit.
    pub fn delete_vod(&self, vod: i64) -> Result<vods::Vod> {
        self.write(deletion(vod))
    }

    /// As [`delete_vod`](Self::delete_vod), for async callers.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// use streamhub::Kind;
    /// use streamhub::vods::NewVod;
    ///
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let app = hub.app_async(&"news-24".parse()?).await?;
    /// let vod = app.create_vod_async(NewVod::named("cam.mp4")).await?;
    /// assert_eq!(app.delete_vod_async(vod.id).await?, vod);
    /// assert_eq!(app.delete_vod_async(vod.id).await.unwrap_err().kind(), Kind::NotFound);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn delete_vod_async(&self, vod: i64) -> Result<vods::Vod> {
        self.write_async(deletion(vod)).await
    }
}

fn creation(app: i64, new: NewVod) -> impl FnMut(&mut WriteTx<'_>) -> Result<vods::Vod> + Send + 'static {
    let new = NewVod { app_id: app, ..new };
    move |tx| vods::create(tx, &new).map_err(HubError::from)
}

fn deletion(vod: i64) -> impl FnMut(&mut WriteTx<'_>) -> Result<vods::Vod> + Send + 'static {
    move |tx| vods::delete(tx, vod).map_err(HubError::from)
}
