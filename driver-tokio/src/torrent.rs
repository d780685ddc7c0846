//! The handle on one torrent, and what can be seen of it.

use crate::events::{Event, Events};
use crate::explain::Explained;
use crate::reader::FileReader;
use crate::request::Request;
use crate::session::{CommandError, Ended, Session};
use sameseed_core::action::{Notice, Refusal};
use sameseed_core::bitfield::Bitfield;
use sameseed_core::config::{RateLimits, SeedingGoals};
use sameseed_core::event::{Command, QueueMove};
use sameseed_core::fault::DiskFault;
use sameseed_core::id::{FileIndex, Folder, InfoHash, TorrentId};
use sameseed_core::layout::Layout;
use sameseed_core::selection::Priority;
use sameseed_core::view::{PeerView, TorrentView, TrackerView};
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// Why something could not be done with a torrent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TorrentError {
    /// The session has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The engine refused it, and nothing has changed. [`Refusal::Unknown`] and [`Refusal::Leaving`] say that the torrent was removed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk refused it.
    #[error(transparent)]
    Disk(#[from] DiskFault),
}

impl From<CommandError> for TorrentError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Ended(ended) => ended.into(),
            CommandError::Refused(why) => why.into(),
        }
    }
}

/// What never changes about a torrent.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) id: TorrentId,
    pub(crate) info_hash: InfoHash,
    pub(crate) name: String,
    pub(crate) layout: Arc<Layout>,
}

/// One file of a torrent at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileView {
    /// Its number.
    pub file: FileIndex,
    /// Its names below the download folder, the torrent's own folder first.
    pub path: Vec<String>,
    /// Its length in bytes.
    pub len: u64,
    /// Of these, bytes that are verified and written.
    pub have_bytes: u64,
    /// How urgently it is wanted.
    pub priority: Priority,
}

/// A handle on a torrent; cheap to clone. Dropping it does nothing to the torrent, but while one is there the session lives.
///
/// Each call answers once the engine has heard it. After a removal all of them answer that there is no such torrent.
///
/// ```no_run
/// # async fn example(torrent: driver_tokio::Torrent) -> Result<(), driver_tokio::TorrentError> {
/// use driver_tokio::core::{config::RateLimits, id::FileIndex};
///
/// torrent.select_files([FileIndex(0), FileIndex(2)]).await?;
/// torrent.set_limits(RateLimits { down: 1 << 20, up: 0 }).await?;
/// torrent.wait_complete().await?;
/// println!("{}: {} bytes uploaded", torrent.name(), torrent.view().await?.uploaded_bytes);
/// torrent.move_to("finished").await?;
/// torrent.remove().await
/// # }
/// ```
#[derive(Clone)]
pub struct Torrent {
    session: Session,
    about: Arc<About>,
}

impl fmt::Debug for Torrent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Torrent").field("id", &self.about.id).field("name", &self.about.name).finish_non_exhaustive()
    }
}

impl Torrent {
    pub(crate) fn new(session: Session, about: Arc<About>) -> Self {
        Torrent { session, about }
    }

    /// Its number in this session, as events and views have it.
    pub fn id(&self) -> TorrentId {
        self.about.id
    }

    /// Its info-hash.
    pub fn info_hash(&self) -> InfoHash {
        self.about.info_hash
    }

    /// Its name, cleaned.
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// Its files and pieces as they were when it was added. [`Torrent::files`] has the names after a renaming.
    pub fn layout(&self) -> &Layout {
        &self.about.layout
    }

    /// How it is doing.
    ///
    /// # Errors
    /// When it was removed, or the session has ended. So it is with all that follow.
    pub async fn view(&self) -> Result<TorrentView, TorrentError> {
        self.look(|reply| Request::TorrentView(self.id(), reply)).await
    }

    /// Its peers.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn peers(&self) -> Result<Vec<PeerView>, TorrentError> {
        let peers = self.session.peers(self.id()).await?;
        if peers.is_empty() {
            // Nobody, or no torrent.
            self.view().await?;
        }
        Ok(peers)
    }

    /// Its trackers, in the order in which they are asked: what they said last, and how large the swarm is.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn trackers(&self) -> Result<Vec<TrackerView>, TorrentError> {
        let trackers = self.session.ask(|reply| Request::Trackers(self.id(), reply)).await?;
        if trackers.is_empty() {
            // None, or no torrent.
            self.view().await?;
        }
        Ok(trackers)
    }

    /// Its files, but pad files: how much of each is there, and how urgently it is wanted.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn files(&self) -> Result<Vec<FileView>, TorrentError> {
        self.look(|reply| Request::Files(self.id(), reply)).await
    }

    /// Why it, and each of its connections, is not faster. To be asked when somebody wants to know: it looks at every piece that is lacking.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn explain(&self) -> Result<Explained, TorrentError> {
        self.look(|reply| Request::Explain(self.id(), reply)).await
    }

    /// The pieces that are verified and written.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn pieces(&self) -> Result<Bitfield, TorrentError> {
        self.look(|reply| Request::Pieces(self.id(), reply)).await
    }

    /// Its events from now on. They end with its removal.
    pub fn events(&self) -> Events {
        self.session.events_of(self.id())
    }

    /// Waits until every file that is wanted is verified and safe on the disk; returns at once when it is. It waits through pauses and through trouble with the disk, which
    /// [`Torrent::events`] and [`Torrent::view`] tell of.
    ///
    /// # Errors
    /// As [`Torrent::view`], also when it is removed meanwhile.
    pub async fn wait_complete(&self) -> Result<(), TorrentError> {
        let mut events = self.events();
        if self.view().await?.complete {
            return Ok(());
        }
        loop {
            match events.next().await {
                Some(Event::Notice(Notice::Complete { .. })) => return Ok(()),
                Some(Event::Notice(Notice::Removed { .. })) => return Err(Refusal::Unknown.into()),
                Some(_) => {}
                None => return Err(Ended.into()),
            }
        }
    }

    /// Opens a file for reading while it is downloaded: the reader waits for what is not there yet, and has it fetched before all else. Of a skipped file nothing
    /// comes.
    ///
    /// # Errors
    /// As [`Torrent::view`], and when there is no such file.
    pub async fn reader(&self, file: FileIndex) -> Result<FileReader, TorrentError> {
        FileReader::open(&self.session, &self.about, file).await
    }

    /// Has it be silent: peers are closed, trackers told, and nothing is asked for or let in.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn pause(&self) -> Result<(), TorrentError> {
        self.tell(Command::Pause { torrent: Some(self.id()) }).await
    }

    /// Has it go on. When it is not paused and has been seeded enough, it seeds on, and no goal ends that until goals are changed.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn resume(&self) -> Result<(), TorrentError> {
        self.tell(Command::Resume { torrent: Some(self.id()) }).await
    }

    /// Changes when it has been seeded enough, at once; `None`: as all others. [`Notice::SeededEnough`] tells when a goal is reached; the torrent is silent from then on.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn set_goals(&self, goals: Option<SeedingGoals>) -> Result<(), TorrentError> {
        self.tell(Command::SetGoals { torrent: Some(self.id()), goals }).await
    }

    /// Changes where it stands among those that wait for a place; see [`Session::set_active_limits`].
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn move_in_queue(&self, to: QueueMove) -> Result<(), TorrentError> {
        self.tell(Command::MoveInQueue { torrent: self.id(), to }).await
    }

    /// Removes it with its resume data, and leaves its files alone. Returns when it is gone, which may take until trackers were told, but no longer than
    /// [`Config::shutdown_timeout`](sameseed_core::config::Config::shutdown_timeout).
    ///
    /// # Errors
    /// As [`Torrent::view`]. When its resume data could not be deleted it is gone all the same.
    pub async fn remove(&self) -> Result<(), TorrentError> {
        self.remove_and(false).await
    }

    /// Removes it and deletes its files, and its folders as far as they are empty then. Nothing else is ever touched. Returns when it is gone.
    ///
    /// # Errors
    /// As [`Torrent::view`]. When something could not be deleted it is gone all the same.
    pub async fn remove_with_files(&self) -> Result<(), TorrentError> {
        self.remove_and(true).await
    }

    async fn remove_and(&self, delete_data: bool) -> Result<(), TorrentError> {
        let mut events = self.events();
        self.tell(Command::Remove { torrent: self.id(), delete_data }).await?;
        loop {
            match events.next().await {
                Some(Event::Notice(Notice::Removed { fault, .. })) => {
                    return fault.map_or(Ok(()), |fault| Err(fault.into()));
                }
                Some(_) => {}
                None => return Err(Ended.into()),
            }
        }
    }

    /// Has everything hashed again, also when it is paused. [`Notice::Checked`] tells the end.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn recheck(&self) -> Result<(), TorrentError> {
        self.tell(Command::Recheck { torrent: self.id() }).await
    }

    /// Asks the trackers now, or as soon as they allow.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn reannounce(&self) -> Result<(), TorrentError> {
        self.tell(Command::Reannounce { torrent: self.id() }).await
    }

    /// Asks each tracker how large the swarm is (BEP 48), also while it is paused; but no tracker more than once a minute. [`Notice::Scraped`] tells each
    /// answer, and [`Torrent::trackers`] and [`Torrent::view`] show it. While it runs this is known without asking, as a rule.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn scrape(&self) -> Result<(), TorrentError> {
        self.tell(Command::Scrape { torrent: self.id() }).await
    }

    /// Gives it peers to try first.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn add_peers(&self, peers: impl IntoIterator<Item = SocketAddr>) -> Result<(), TorrentError> {
        self.tell(Command::AddPeers { torrent: self.id(), peers: peers.into_iter().collect() }).await
    }

    /// Gives it trackers: each that is new becomes a tier of its own after the others, and is asked at once;
    /// while others are being asked, only when those do not answer.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn add_trackers(&self, urls: impl IntoIterator<Item = String>) -> Result<(), TorrentError> {
        self.tell(Command::AddTrackers { torrent: self.id(), urls: urls.into_iter().collect() }).await
    }

    /// Gives it these trackers, in tiers (BEP 12), and no others.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn replace_trackers(&self, tiers: Vec<Vec<String>>) -> Result<(), TorrentError> {
        self.tell(Command::ReplaceTrackers { torrent: self.id(), tiers }).await
    }

    /// Wants these files as usual and skips all others.
    ///
    /// # Errors
    /// As [`Torrent::view`], and when there is no such file.
    pub async fn select_files(&self, files: impl IntoIterator<Item = FileIndex>) -> Result<(), TorrentError> {
        let mut priorities: Vec<(FileIndex, Priority)> =
            (0..self.layout().files().len() as u32).map(|file| (FileIndex(file), Priority::Skip)).collect();
        // Of a file that is named twice the last counts.
        priorities.extend(files.into_iter().map(|file| (file, Priority::Normal)));
        self.set_priorities(priorities).await
    }

    /// Changes how urgently some files are wanted; the others stay as they are.
    ///
    /// # Errors
    /// As [`Torrent::view`], and when there is no such file.
    pub async fn set_priorities(&self, files: Vec<(FileIndex, Priority)>) -> Result<(), TorrentError> {
        self.tell(Command::SetPriorities { torrent: self.id(), files }).await
    }

    /// Asks for pieces in the order of the torrent, or, as usual, the rarest first.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn set_sequential(&self, sequential: bool) -> Result<(), TorrentError> {
        self.tell(Command::SetSequential { torrent: self.id(), sequential }).await
    }

    /// What it may receive and send, in bytes per second; 0 is no limit. The session's limits are kept as well.
    ///
    /// # Errors
    /// As [`Torrent::view`].
    pub async fn set_limits(&self, limits: RateLimits) -> Result<(), TorrentError> {
        self.tell(Command::SetLimits { torrent: Some(self.id()), limits }).await
    }

    /// Moves its files to another folder, also on another file system. Returns when they are there; peers stay out meanwhile. Giving the future up does not stop the move.
    ///
    /// # Errors
    /// As [`Torrent::view`]; when its files are being moved or renamed already; and when the disk refuses: then all of them are where they were.
    pub async fn move_to(&self, folder: impl AsRef<Path>) -> Result<(), TorrentError> {
        let to = Folder(folder.as_ref().as_os_str().as_bytes().to_vec());
        self.relocate(Command::Move { torrent: self.id(), to }).await
    }

    /// Gives one file another name in its folder; `None` means the torrent's folder (of a single-file torrent: its file). Returns when it has it.
    ///
    /// # Errors
    /// As [`Torrent::move_to`], and when the name cannot be used or is taken.
    pub async fn rename(&self, file: Option<FileIndex>, name: impl Into<String>) -> Result<(), TorrentError> {
        self.relocate(Command::Rename { torrent: self.id(), file, name: name.into() }).await
    }

    async fn relocate(&self, command: Command) -> Result<(), TorrentError> {
        let mut events = self.events();
        self.tell(command).await?;
        // One is under way at a time, so the next news of one are of this one.
        loop {
            match events.next().await {
                Some(Event::Notice(Notice::Moved { .. } | Notice::Renamed { .. })) => return Ok(()),
                Some(Event::Notice(Notice::NotMoved { fault, .. })) => return Err(fault.into()),
                Some(Event::Notice(Notice::Removed { .. })) => return Err(Refusal::Unknown.into()),
                Some(_) => {}
                None => return Err(Ended.into()),
            }
        }
    }

    async fn tell(&self, command: Command) -> Result<(), TorrentError> {
        Ok(self.session.command(command).await?)
    }

    async fn look<T>(
        &self,
        request: impl FnOnce(crate::request::Reply<Option<T>>) -> Request,
    ) -> Result<T, TorrentError> {
        self.session.ask(request).await?.ok_or_else(|| Refusal::Unknown.into())
    }
}
