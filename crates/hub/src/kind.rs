//! What a program does about a failure, whatever exactly has failed.

/// What a caller does about a failure; exit codes and HTTP statuses follow from it.
///
/// ```
/// use streamhub::Kind;
///
/// fn status(kind: Kind) -> u16 {
///     match kind {
///         Kind::Invalid => 400,
///         Kind::NotFound => 404,
///         Kind::Exists => 409,
///         Kind::Quota => 429,
///         Kind::Unavailable | Kind::Unknown => 503,
///         _ => 500,
///     }
/// }
/// assert_eq!(status(Kind::Quota), 429);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The operation failed and changed nothing. Log it; the disk, the file or a closure is at fault.
    Failed,
    /// A file or directory that the caller named is missing. Check the path, and whether its disk is mounted.
    SourceMissing,
    /// A file that the caller named is no `SQLite` database. Name another.
    NotADatabase,
    /// What was to be made is already there. Tell the client, or take what is there.
    Exists,
    /// It could not be done in time, or the app is out of service, and nothing was changed. Try again a little
    /// later, a few times; then tell the client to.
    Unavailable,
    /// What was asked for does not exist. Tell the client.
    NotFound,
    /// What was asked for is not acceptable. Tell the client; the message says what would be.
    Invalid,
    /// A quota is used up. Tell the client; the tenant ends something or gets more.
    Quota,
    /// The write may have happened or not. Read what is there before writing again.
    Unknown,
    /// Someone else holds the data directory. End this process, or wait for the other to end.
    InUse,
    /// The configuration or the installation has to be mended by a person. End this process.
    Configuration,
}
