//! How many connections there may be, and who leaves when there are too many: the one that has been
//! idle the longest. Whoever is being served stays.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, getrlimit};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant, timeout};

use super::GRACE;

/// How long a newcomer waits for the place of one who was asked to leave.
const TURN: Duration = Duration::from_millis(100);
/// One in so many is asked to leave at once, so that a flood does not make us look through all of them
/// for each newcomer.
const LEAVING_SHARE: usize = 128;
/// What a connection takes at most of the time: a head that is half there, or a request that is being served. Many
/// that all send bodies at once take more.
const CONNECTION_BYTES: u64 = 48 * 1024;
/// Connections may take one in so many bytes of a limited memory; the rest is for everything else.
const MEMORY_SHARE: u64 = 3;
/// However little memory there is.
const PLACES_LEAST: u64 = 16;
/// File descriptors that are not for connections: the store, the admin socket's, those who are turned away,
/// what a reload reads.
const FILES_KEPT_MAX: u64 = 128;

/// The connections of one kind, and the places for them.
#[derive(Debug)]
pub(super) struct Crowd {
    places: Arc<Semaphore>,
    places_max: u32,
    /// Whether there are fewer places than were asked for, for lack of file descriptors or memory.
    pub(super) is_tight: bool,
    members: Mutex<HashMap<u64, Arc<Member>>>,
    /// Numbers connections, and the moments at which they became idle.
    clock: Arc<AtomicU64>,
}

/// What the crowd knows of one connection.
#[derive(Debug)]
pub(super) struct Member {
    clock: Arc<AtomicU64>,
    /// When it became idle; 0 while it is not.
    idle_since: AtomicU64,
    seated: Instant,
    /// Whether a request has come.
    has_asked: AtomicBool,
    asked_to_leave: Notify,
    leaving: AtomicBool,
}

/// A place for one connection, not taken yet.
#[derive(Debug)]
pub(super) struct Room {
    _permit: OwnedSemaphorePermit,
}

/// A connection's place, given back when this is dropped, also by a panic.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    number: u64,
    pub(super) member: Arc<Member>,
    _room: Room,
}

impl From<OwnedSemaphorePermit> for Room {
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: permit }
    }
}

impl Member {
    /// It waits for a request from now on.
    pub(super) fn idles(&self) {
        self.idle_since.store(tick(&self.clock), Ordering::Relaxed);
    }

    /// A request has come.
    pub(super) fn works(&self) {
        self.idle_since.store(0, Ordering::Relaxed);
        self.has_asked.store(true, Ordering::Relaxed);
    }

    /// How long its first request may still be on its way, so that it must not be asked to leave.
    fn grace_left(&self) -> Option<Duration> {
        if self.has_asked.load(Ordering::Relaxed) {
            return None;
        }
        GRACE.checked_sub(self.seated.elapsed()).filter(|left| !left.is_zero())
    }

    /// Resolves if somebody else needs its place.
    pub(super) async fn asked_to_leave(&self) {
        self.asked_to_leave.notified().await;
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether somebody waits for its place, so that its end may not take long.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }
}

fn tick(clock: &AtomicU64) -> u64 {
    // From 1, since 0 is 'not idle'.
    clock.fetch_add(1, Ordering::Relaxed).saturating_add(1)
}

impl Crowd {
    /// At most `connections_max`.
    pub(super) fn of(connections_max: usize) -> Self {
        let places_max = u32::try_from(connections_max).unwrap_or(u32::MAX);
        Self {
            places: Arc::new(Semaphore::new(usize::try_from(places_max).unwrap_or(connections_max))),
            places_max,
            is_tight: false,
            members: Mutex::default(),
            clock: Arc::default(),
        }
    }

    /// At most `connections_max`, and no more than the file descriptors and the memory of this process allow.
    pub(super) fn within_means(connections_max: usize, memory_bytes: Option<u64>) -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let by_files = files.saturating_sub(FILES_KEPT_MAX.min(files / 2));
        let by_memory = memory_bytes.map(|bytes| (bytes / MEMORY_SHARE / CONNECTION_BYTES).max(PLACES_LEAST));
        match usize::try_from(by_files.min(by_memory.unwrap_or(u64::MAX))) {
            Ok(spare) if spare < connections_max => Self { is_tight: true, ..Self::of(spare) },
            Ok(_) | Err(_) => Self::of(connections_max),
        }
    }

    /// How many there may be.
    pub(super) fn places_max(&self) -> u32 {
        self.places_max
    }

    /// Room that nobody has to leave for, if there is any.
    pub(super) fn free(&self) -> Option<Room> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(Room::from)
    }

    /// Room for one that has come: free, or left by one that was idle. None if all are being served.
    pub(super) async fn squeeze_in(&self) -> Option<Room> {
        if let Some(room) = self.free() {
            return Some(room);
        }
        if !self.ask_idle_to_leave() {
            // Those who have just come themselves will have asked, or be idle, in a moment.
            if let Some(room) = self.left_within(self.shortest_grace()?).await {
                return Some(room);
            }
            self.ask_idle_to_leave();
        }
        self.left_within(TURN).await
    }

    async fn left_within(&self, span: Duration) -> Option<Room> {
        timeout(span, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok().map(Room::from)
    }

    /// Room for one that may come, waited for as long as it takes.
    pub(super) async fn room(&self) -> Option<Room> {
        if let Some(room) = self.squeeze_in().await {
            return Some(room);
        }
        Arc::clone(&self.places).acquire_owned().await.ok().map(Room::from)
    }

    /// Takes a place.
    pub(super) fn seat(self: &Arc<Self>, room: Room) -> Place {
        let number = tick(&self.clock);
        let member = Arc::new(Member {
            clock: Arc::clone(&self.clock),
            idle_since: AtomicU64::new(0),
            seated: Instant::now(),
            has_asked: AtomicBool::new(false),
            asked_to_leave: Notify::new(),
            leaving: AtomicBool::new(false),
        });
        self.members().insert(number, Arc::clone(&member));
        Place { crowd: Arc::clone(self), number, member, _room: room }
    }

    /// Resolves once nobody is left. Nobody is seated after that.
    pub(super) async fn empty(&self) {
        let _ = self.places.acquire_many(self.places_max).await;
    }

    /// How long until the first of those who have just come counts as idle. None if there are none.
    fn shortest_grace(&self) -> Option<Duration> {
        self.members().values().filter_map(|member| member.grace_left()).min()
    }

    /// Asks those to leave that have been idle the longest. False if nobody is idle.
    fn ask_idle_to_leave(&self) -> bool {
        let members = self.members();
        let mut idle: Vec<(u64, &Member)> = members
            .values()
            .map(|member| (member.idle_since.load(Ordering::Relaxed), &**member))
            .filter(|(since, member)| *since != 0 && member.grace_left().is_none())
            .collect();
        let leaving = (members.len() / LEAVING_SHARE).max(1).min(idle.len());
        let Some(last) = leaving.checked_sub(1) else { return false };
        let (longest, nth, _) = idle.select_nth_unstable_by_key(last, |(since, _)| *since);
        for (_, member) in longest.iter().chain([&*nth]) {
            member.asked_to_leave.notify_one();
        }
        true
    }

    fn members(&self) -> MutexGuard<'_, HashMap<u64, Arc<Member>>> {
        // Nothing that is done under this lock can leave the map half-changed.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.members().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that has had a request.
    fn seated(crowd: &Arc<Crowd>) -> Place {
        let place = crowd.seat(crowd.free().unwrap());
        place.member.works();
        place
    }

    /// Whether somebody was asked to leave; asking takes the request back.
    async fn asked(place: &Place) -> bool {
        tokio::select! {
            biased;
            () = place.member.asked_to_leave() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn the_one_that_was_idle_the_longest_leaves_and_whoever_is_served_stays() {
        let crowd = Arc::new(Crowd::of(3));
        let [first, second, third] = [(); 3].map(|()| seated(&crowd));
        assert!(crowd.squeeze_in().await.is_none(), "all are being served");
        second.member.idles();
        third.member.idles();
        assert!(crowd.ask_idle_to_leave());
        assert_eq!((asked(&first).await, asked(&second).await, asked(&third).await), (false, true, false));
        second.member.works();
        assert!(crowd.ask_idle_to_leave());
        assert_eq!((asked(&first).await, asked(&second).await, asked(&third).await), (false, false, true));
    }

    #[tokio::test]
    async fn a_newcomer_takes_the_place_of_one_that_leaves() {
        let crowd = Arc::new(Crowd::of(1));
        let only = seated(&crowd);
        only.member.idles();
        let leaving = tokio::spawn(async move {
            only.member.asked_to_leave().await;
        });
        assert!(crowd.squeeze_in().await.is_some());
        leaving.await.unwrap();
    }

    #[tokio::test]
    async fn one_that_has_just_come_stays_until_its_first_request_had_time_to_come() {
        let crowd = Arc::new(Crowd::of(1));
        let fresh = crowd.seat(crowd.free().unwrap());
        fresh.member.idles();
        assert!(!crowd.ask_idle_to_leave());
        assert!(crowd.shortest_grace().is_some_and(|left| left <= GRACE));
        let waiting = tokio::spawn({
            let crowd = Arc::clone(&crowd);
            async move { crowd.squeeze_in().await.is_some() }
        });
        fresh.member.asked_to_leave().await;
        assert!(fresh.member.seated.elapsed() >= GRACE, "asked to leave before its time");
        drop(fresh);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn of_many_that_are_idle_a_share_leaves_at_once() {
        let crowd = Arc::new(Crowd::of(2 * LEAVING_SHARE));
        let places: Vec<Place> = (0..2 * LEAVING_SHARE).map(|_| seated(&crowd)).collect();
        for place in places.iter().rev() {
            place.member.idles();
        }
        assert!(crowd.ask_idle_to_leave());
        let mut left = 0;
        for place in &places {
            left += usize::from(asked(place).await);
        }
        assert_eq!(left, 2);
        assert!(!asked(&places[0]).await, "the last to become idle stays");
    }

    #[test]
    fn there_are_never_more_places_than_files() {
        let crowd = Crowd::within_means(usize::MAX, None);
        assert!(u64::from(crowd.places_max()) <= getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX));
        assert!(!Crowd::within_means(1, None).is_tight);
    }

    #[test]
    fn connections_take_no_more_than_their_share_of_a_limited_memory() {
        #[track_caller]
        fn check(connections_max: usize, memory_bytes: u64, places: u32, is_tight: bool) {
            let crowd = Crowd::within_means(connections_max, Some(memory_bytes));
            assert_eq!((crowd.places_max(), crowd.is_tight), (places, is_tight), "{memory_bytes}");
        }
        let enough = 100 * CONNECTION_BYTES * MEMORY_SHARE;
        check(100, enough, 100, false);
        check(101, enough, 100, true);
        check(100, enough - 1, 99, true);
        check(100, 0, 16, true);
        check(10, 0, 10, false);
        check(100, u64::MAX, 100, false);
    }
}
