//! Clocks that jump, over a store that is closed and opened, or cut off from its power: what was once refused because its
//! time was over is never good again.

use super::{
    faults::{made_with, opened_with},
    media::{Dice, Disk},
    *,
};

/// Steps of one schedule.
const STEPS: usize = 24;
/// How many schedules `cargo test` looks at; `BEARERD_CLOCK_SCHEDULES` looks at more.
const SCHEDULES: u64 = 100;
/// Ten thousand years, in milliseconds.
const FAR_MILLIS: u64 = 10_000 * 365 * 86_400 * 1_000;

/// Something that ends, and whether it was refused since.
struct Spanned {
    ends: Time,
    refused: bool,
}

/// A store, its clock, and what was told of things that end.
struct Schedule {
    dice: Dice,
    disk: Disk,
    clock: Arc<AtomicU64>,
    store: Store,
    things: Vec<Spanned>,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let (time, clock) = fixed(jump(&mut dice, 1_800_000_000_000));
        let disk = Disk::default();
        let store = made_with(&disk, &options(time));
        Self { dice, disk, clock, store, things: Vec::new() }
    }

    fn step(&mut self) {
        match self.dice.below(8) {
            0 | 1 => {
                let now = self.clock.load(Ordering::Acquire);
                self.clock.store(jump(&mut self.dice, now), Ordering::Release);
            }
            2 | 3 => {
                let span = [1, 60, 86_400, 10 * 365 * 86_400][self.dice.below(4)];
                self.things.push(Spanned { ends: self.store.now().plus(span), refused: false });
            }
            4 => {
                put(&self.store, "any", "change").unwrap();
            }
            5 | 6 => self.restart(),
            _ => {}
        }
        self.look();
    }

    /// Whoever is refused because its time is over has that time written down, as the daemon does it.
    fn look(&mut self) {
        for thing in &mut self.things {
            let over = self.store.now() >= thing.ends;
            assert!(over || !thing.refused, "good again at {:?}", self.store.now());
            thing.refused = over;
            if over {
                self.store.keep_time(thing.ends);
            }
        }
    }

    /// A stop and a start, or a power cut some time after the last refusal: what waits for the writer has had its turn.
    /// Nothing else is written, which would have the highest time along.
    fn restart(&mut self) {
        self.store.write_blocking(|_| Ok::<(), ()>(())).unwrap().unwrap();
        let bytes = self.disk.bytes();
        self.store.close().unwrap();
        if self.dice.below(2) == 0 {
            self.disk = Disk::holding(bytes);
        }
        let time = TimeSource::Fixed(Arc::clone(&self.clock));
        self.store = opened_with(&self.disk, &keyring("k1"), &options(time)).unwrap();
    }
}

fn options(time: TimeSource) -> Options {
    Options { cache_bytes: 1 << 20, verify_bytes_max: 0, time, ..Options::default() }
}

/// A clock after a jump: to its beginning, to its end, near or far.
fn jump(dice: &mut Dice, from: u64) -> u64 {
    let far = [1_000, 3_600_000, 400 * 86_400_000, FAR_MILLIS][dice.below(4)];
    let by = u64::try_from(dice.below(usize::try_from(far).unwrap())).unwrap();
    match dice.below(40) {
        0..4 => 0,
        4 => u64::MAX,
        5..24 => from.saturating_add(by),
        _ => from.saturating_sub(by),
    }
}

#[test]
fn nothing_that_was_refused_is_good_again_wherever_the_clock_jumps() {
    let schedules =
        std::env::var("BEARERD_CLOCK_SCHEDULES").map_or(SCHEDULES, |count| count.parse().unwrap());
    let mut refused = 0;
    for seed in 1..=schedules {
        let mut schedule = Schedule::new(seed);
        (0..STEPS).for_each(|_| schedule.step());
        refused += schedule.things.iter().filter(|thing| thing.refused).count();
    }
    assert!(refused > 0, "nothing was ever refused");
}

#[test]
fn an_end_under_a_clock_that_was_set_right_since_keeps_no_later_one_from_being_written_down() {
    let (time, clock) = fixed(1_000_000);
    let disk = Disk::default();
    let store = made_with(&disk, &options(time.clone()));
    clock.store(FAR_MILLIS, Ordering::Release);
    let wrong = store.now();
    clock.store(1_000_000, Ordering::Release);
    basics::blocking(store.write_turning_clock_back(|_| Ok::<(), ()>(()))).unwrap().unwrap();
    // Somebody read the clock before it was set right, and asks only now.
    store.keep_time(wrong);
    store.write_blocking(|_| Ok::<(), ()>(())).unwrap().unwrap();
    clock.store(2_000_000, Ordering::Release);
    store.keep_time(store.now());
    store.write_blocking(|_| Ok::<(), ()>(())).unwrap().unwrap();
    store.close().unwrap();
    clock.store(1_000_000, Ordering::Release);
    let store = opened_with(&disk, &keyring("k1"), &options(time)).unwrap();
    assert_eq!(store.now(), Time::from_unix(2_000));
}
