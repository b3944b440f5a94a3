//! Who may publish into an app: its ingress, made and removed.

use streamhub_appstore::WriteTx;
use streamhub_appstore::ingress::{self, Ingress, NewIngress, PreparedIngress};

use crate::acting::Deed;
use crate::error::Result;
use crate::lease::Lease;

impl Lease {
    /// Makes an ingress of this app, whatever app it names. Hashes where it has a password, which takes tens of
    /// milliseconds.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// use streamhub::ingress::NewIngress;
    ///
    /// let app = hub.app(&"news-24".parse()?)?;
    /// let made = app.create_ingress(NewIngress { room: Some("studio".to_owned()), ..NewIngress::default() })?;
    /// assert_eq!((&*made.app, made.requires_password), ("news-24", false));
    /// app.delete_ingress(&made.ingress_id)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_ingress(&self, new: NewIngress) -> Result<Ingress> {
        let prepared = NewIngress { app: self.id().to_string(), ..new }.prepare()?;
        self.write(self.admission(prepared))
    }

    /// As [`create_ingress`](Self::create_ingress), for async callers.
    pub async fn create_ingress_async(&self, new: NewIngress) -> Result<Ingress> {
        self.blocking(move |lease| lease.create_ingress(new)).await
    }

    /// Removes an ingress: nobody publishes through it from then on.
    pub fn delete_ingress(&self, ingress: &str) -> Result<()> {
        self.write(self.dismissal(ingress))
    }

    /// As [`delete_ingress`](Self::delete_ingress), for async callers.
    pub async fn delete_ingress_async(&self, ingress: &str) -> Result<()> {
        self.write_async(self.dismissal(ingress)).await
    }

    fn admission(
        &self,
        prepared: PreparedIngress,
    ) -> impl FnMut(&mut WriteTx<'_>) -> Result<Ingress> + Send + use<> {
        self.audited(Deed::of("ingress.create"), move |tx, deed| {
            let made = ingress::create(tx, &prepared)?;
            deed.aim(&made.ingress_id);
            Ok(made)
        })
    }

    fn dismissal(&self, ingress: &str) -> impl FnMut(&mut WriteTx<'_>) -> Result<()> + Send + use<> {
        let ingress = ingress.to_owned();
        let deed = Deed::of("ingress.delete").target(&ingress);
        self.audited(deed, move |tx, _| Ok(ingress::delete(tx, &ingress)?))
    }
}
