//! The instants between two durable steps, each with a name, so that a test can have the engine die at every one of them.
//!
//! What a kill at a random moment meets is mostly waiting: some of these instants last microseconds, and a mistake in
//! their order would show once in a thousand kills, or on somebody's machine. A build for tests tells whoever watches
//! when one is reached; only the binary watches, and dies there if `ADCE_FAILPOINT` names it
//! (`crates/adce/tests/failpoints.rs` takes every one, and fails for one that it has no case for).
//!
//! Nothing of this is in a release build: [`reached`] is empty there.

macro_rules! failpoints {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)+) => {
        /// Between two durable steps. Where several attempts or objects are under way, each passes it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Failpoint {
            $($(#[$doc])* $point,)+
        }

        impl Failpoint {
            pub const ALL: &[Failpoint] = &[$(Failpoint::$point,)+];

            pub fn name(self) -> &'static str {
                match self {
                    $(Failpoint::$point => $name,)+
                }
            }
        }
    };
}

failpoints! {
    // ------------------------------------------------------------------------------------------- a state is taken over
    /// The file is there; tables are made, or changed to the newest format, and nothing of it is committed.
    MigrationUncommitted = "migration-uncommitted",
    /// The state is of the newest format; nobody has read it.
    Migrated = "migrated",
    /// Old history is removed and nothing of it is committed.
    PruningUncommitted = "pruning-uncommitted",
    Pruned = "pruned",
    /// Nothing of a killed engine runs any more; the state still says that it does.
    PredecessorsEnded = "predecessors-ended",
    /// The folders of a killed engine's attempts are gone, its temporary files in the lake are not.
    LeftoversRemoved = "leftovers-removed",
    /// The temporary files, too.
    LakeSwept = "lake-swept",
    /// One of the old logs is removed, the next is not.
    LogRemoved = "log-removed",
    /// What killed attempts have changed in the lake is on record; their leases still stand.
    SuspectsCommitted = "suspects-committed",
    /// The leases of the killed engine are taken back, and its reservations count as sent.
    TakenOver = "taken-over",

    // ------------------------------------------------------------------------------------------------------- a look
    /// The gaps that a look has found are written and not committed.
    GapsUncommitted = "gaps-uncommitted",
    GapsCommitted = "gaps-committed",

    // --------------------------------------------------------------------------------------------------- an attempt
    /// A lease, with the reservation that it needs, is written and not committed.
    LeaseUncommitted = "lease-uncommitted",
    /// It is committed; who asked for it does not know yet.
    LeaseCommitted = "lease-committed",
    /// The attempt has its lease; nothing is prepared for it.
    Leased = "leased",
    /// Its folder is there; nothing is started.
    WorkplaceMade = "workplace-made",
    /// Its command runs, and nobody has noted its process.
    Spawned = "spawned",
    ProcessUncommitted = "process-uncommitted",
    /// The process is on record; the engine goes on watching it.
    ProcessCommitted = "process-committed",
    /// Of the files that a command has left elsewhere one is taken away, the next is not.
    PickedUp = "picked-up",
    /// The command has ended well, and what it collected is in its folder.
    Staged = "staged",
    PublishingUncommitted = "publishing-uncommitted",
    /// That publishing begins is on record; the lake is untouched.
    PublishingCommitted = "publishing-committed",

    // --------------------------------------------------------------------------------------- an object, local lake
    /// The temporary file has its content; it is not on disk.
    PartWritten = "part-written",
    PartSynced = "part-synced",
    /// A folder of the key is made; its name is not on disk.
    FolderMade = "folder-made",
    FolderSynced = "folder-synced",
    /// The object has its name; the name is not on disk.
    Renamed = "renamed",
    /// The object is there for good. The next one of its attempt is not.
    Published = "published",

    // ------------------------------------------------------------------------------------------------ a set of objects
    /// All parts are there; the marker, if there is to be one, is not, or is that of the set before.
    SetPartsPublished = "set-parts-published",
    /// The marker is there; parts of an earlier collection may be, too.
    SetMarked = "set-marked",
    /// A part of an earlier collection is gone, the next is not.
    OldPartRemoved = "old-part-removed",

    // ------------------------------------------------------------------------------------------------ an object, S3
    /// The object is about to be put.
    PutUnsent = "put-unsent",
    /// The store has answered; nobody here knows it.
    PutAnswered = "put-answered",
    /// An upload in parts has begun, and no part is sent.
    UploadBegun = "upload-begun",
    /// All parts are there, and the object is not.
    PartsSent = "parts-sent",
    /// The object is there; nobody here knows it.
    UploadCompleted = "upload-completed",

    // --------------------------------------------------------------------------------------- the end of an attempt
    /// The lake has what it was to get; the state does not know it.
    Delivered = "delivered",
    /// The log is moved to where it stays.
    LogMoved = "log-moved",
    /// The folder is kept beside it.
    FolderKept = "folder-kept",
    /// The folder is given back, or gone.
    WorkplaceGivenBack = "workplace-given-back",
    /// What follows from the outcomes is decided, and not written.
    OutcomesDecided = "outcomes-decided",
    OutcomesUncommitted = "outcomes-uncommitted",
    OutcomesCommitted = "outcomes-committed",
    /// Leases that nobody has used are about to be given back.
    ReleaseUncommitted = "release-uncommitted",
    ReleaseCommitted = "release-committed",

    // ------------------------------------------------------------------------------------------------------ requests
    ReservationUncommitted = "reservation-uncommitted",
    ReservationCommitted = "reservation-committed",
    /// A permit is in the hands of who asked for it; nothing is sent.
    PermitGranted = "permit-granted",
    /// The request is answered; that its permit is settled is not on record.
    RequestAnswered = "request-answered",
    SettlementUncommitted = "settlement-uncommitted",
    SettlementCommitted = "settlement-committed",

    // ------------------------------------------------------------------------------------------------------- the end
    /// All is written, and the state is not marked as ended well.
    EndUnmarked = "end-unmarked",
    /// It is marked; its log is not folded in.
    EndMarked = "end-marked",

    // ------------------------------------------------------------------------------------------------------- by hand
    /// A person's `retry` or `accept` is decided, and not written.
    ByHandDecided = "by-hand-decided",
    ByHandCommitted = "by-hand-committed",
    /// A line of known absences is written; it is not on disk.
    LineWritten = "line-written",
    LineSynced = "line-synced",
    /// A copy of the state is whole under a name that nobody asks for; it is not on disk.
    CopyFilled = "copy-filled",
    CopySynced = "copy-synced",
    /// The copy has its name; the name is not on disk.
    CopyPlaced = "copy-placed",
}

#[cfg(debug_assertions)]
static WATCHER: std::sync::OnceLock<Box<dyn Fn(Failpoint) + Send + Sync>> = std::sync::OnceLock::new();

/// To be called in between.
#[inline(always)]
pub fn reached(point: Failpoint) {
    #[cfg(debug_assertions)]
    if let Some(watcher) = WATCHER.get() {
        watcher(point);
    }
    #[cfg(not(debug_assertions))]
    let _ = point;
}

/// Whether anybody may watch: what has to be looked up before it can be named need not be looked up otherwise.
pub const fn can_be_watched() -> bool {
    cfg!(debug_assertions)
}

/// Whoever is first watches this whole process from now on.
#[cfg(debug_assertions)]
pub fn watch(watcher: impl Fn(Failpoint) + Send + Sync + 'static) {
    let _ = WATCHER.set(Box::new(watcher));
}
