//! Recordings that are added and removed: a row in the app, whose file follows it, and whose length is metered.

use streamhub_appstore::WriteTx;
use streamhub_appstore::vods::{self, NewVod, Status, VodPatch};

use crate::acting::Deed;
use crate::error::Result;
use crate::lease::Lease;
use crate::metering::meter_recording;

impl Lease {
    /// Adds a recording of this app, whatever number it names, and returns after the commit is durable. One that
    /// begins is refused where the tenant's recording minutes or storage are used up; one that is there is taken.
    pub fn create_vod(&self, new: NewVod) -> Result<vods::Vod> {
        if self.has_to_be_admitted(&new) {
            self.admit_recording()?;
        }
        self.write(self.creation(new))
    }

    /// As [`create_vod`](Self::create_vod), for async callers.
    pub async fn create_vod_async(&self, new: NewVod) -> Result<vods::Vod> {
        if self.has_to_be_admitted(&new) {
            self.blocking(Self::admit_recording).await?;
        }
        self.write_async(self.creation(new)).await
    }

    /// Changes a recording.
    pub fn update_vod(&self, vod: i64, patch: VodPatch) -> Result<vods::Vod> {
        if patch.status == Some(Status::Recording) && self.has_quotas() {
            self.admit_recording()?;
        }
        self.write(self.alteration(vod, patch))
    }

    /// As [`update_vod`](Self::update_vod), for async callers.
    pub async fn update_vod_async(&self, vod: i64, patch: VodPatch) -> Result<vods::Vod> {
        if patch.status == Some(Status::Recording) && self.has_quotas() {
            self.blocking(Self::admit_recording).await?;
        }
        self.write_async(self.alteration(vod, patch)).await
    }

    /// Removes a recording's row; its file follows, after the commit.
    pub fn delete_vod(&self, vod: i64) -> Result<vods::Vod> {
        self.write(self.deletion(vod))
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
        self.write_async(self.deletion(vod)).await
    }

    fn has_to_be_admitted(&self, new: &NewVod) -> bool {
        new.status == Status::Recording && self.has_quotas()
    }

    fn creation(&self, new: NewVod) -> impl FnMut(&mut WriteTx<'_>) -> Result<vods::Vod> + Send + use<> {
        let new = NewVod { app_id: self.registered().id, ..new };
        self.audited(Deed::of("vod.create"), move |tx, deed| {
            let made = vods::create(tx, &new)?;
            meter_recording(tx, None, &made)?;
            deed.aim(&made.id);
            Ok(made)
        })
    }

    fn alteration(
        &self,
        vod: i64,
        patch: VodPatch,
    ) -> impl FnMut(&mut WriteTx<'_>) -> Result<vods::Vod> + Send + use<> {
        self.audited(Deed::of("vod.update").target(&vod), move |tx, _| {
            let before = vods::by_id(tx, vod)?;
            let after = vods::update(tx, vod, &patch)?;
            meter_recording(tx, before.as_ref(), &after)?;
            Ok(after)
        })
    }

    fn deletion(&self, vod: i64) -> impl FnMut(&mut WriteTx<'_>) -> Result<vods::Vod> + Send + use<> {
        self.audited(Deed::of("vod.delete").target(&vod), move |tx, _| Ok(vods::delete(tx, vod)?))
    }
}
