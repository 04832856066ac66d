//! Keeps the price of CPU sampling below one part in a hundred of what the process itself uses: halves the rate while it is
//! above, and doubles it again once there is room.
//!
//! Judged window by window and slowly, since a rate that swings tells nothing. A process that hardly does anything is let
//! be: the agent's own threads cost a little even then, and a lower rate would not change that.

mod heap;

use std::time::Duration;

pub(crate) use self::heap::{Allocations, HeapGovernor};

/// Of the process's CPU time, in thousandths.
const BUDGET_PER_MILLE: u32 = 10;
/// Half of the budget, less some room: what a doubled rate would need.
const ROOM_PER_MILLE: u32 = 4;
/// Below this share of one processor there is nothing worth saving, in thousandths.
const NEGLIGIBLE_PER_MILLE: u32 = 5;
/// How long the budget must have been exceeded.
const OVER_FOR: Duration = Duration::from_secs(30);
/// How long there must have been room.
const ROOM_FOR: Duration = Duration::from_secs(60);
/// The lowest rate is this many halvings below what was asked for.
const HALVINGS_MAX: u32 = 4;

/// What was used in a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) wall: Duration,
    /// By the whole process.
    pub(crate) process: Duration,
    /// By the signal handler and the agent's threads.
    pub(crate) agent: Duration,
}

/// The rate of CPU samples, and for how long its price has been too high or well below the budget.
#[derive(Debug)]
pub(crate) struct Governor {
    hz: u32,
    halvings: u32,
    over: Duration,
    room: Duration,
}

impl Governor {
    /// Starts at `hz`, which is also the most.
    pub(crate) fn new(hz: u32) -> Self {
        Self { hz, halvings: 0, over: Duration::ZERO, room: Duration::ZERO }
    }

    /// Samples per second of CPU time now.
    pub(crate) fn hz(&self) -> u32 {
        (self.hz >> self.halvings).max(1)
    }

    /// Judges what was used since it was last asked; `true` when the rate has changed.
    pub(crate) fn judge(&mut self, usage: Usage) -> bool {
        let before = self.hz();
        let Usage { wall, process, agent } = usage;
        if agent * 1_000 > process * BUDGET_PER_MILLE && agent * 1_000 > wall * NEGLIGIBLE_PER_MILLE {
            self.over += wall;
            self.room = Duration::ZERO;
        } else {
            self.over = Duration::ZERO;
            let has_room = agent * 1_000 < process * ROOM_PER_MILLE;
            self.room = if has_room { self.room + wall } else { Duration::ZERO };
        }
        if self.over >= OVER_FOR && self.halvings < HALVINGS_MAX {
            self.halvings += 1;
            self.over = Duration::ZERO;
        } else if self.room >= ROOM_FOR && self.halvings > 0 {
            self.halvings -= 1;
            self.room = Duration::ZERO;
        }
        self.hz() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window of a process that is busy on one processor, with this much of it spent by the agent, in thousandths.
    fn busy(agent_per_mille: u32) -> Usage {
        let wall = Duration::from_secs(10);
        Usage { wall, process: wall, agent: wall * agent_per_mille / 1_000 }
    }

    #[test]
    fn a_price_above_the_budget_halves_the_rate_after_half_a_minute_and_no_further_than_four_times() {
        let mut governor = Governor::new(99);
        let rates: Vec<u32> = (0..18)
            .map(|_| {
                governor.judge(busy(20));
                governor.hz()
            })
            .collect();
        assert_eq!(rates, [99, 99, 49, 49, 49, 24, 24, 24, 12, 12, 12, 6, 6, 6, 6, 6, 6, 6]);
    }

    #[test]
    fn one_expensive_window_changes_nothing() {
        let mut governor = Governor::new(99);
        for _ in 0..20 {
            assert!(!governor.judge(busy(20)));
            assert!(!governor.judge(busy(3)));
        }
    }

    #[test]
    fn the_rate_comes_back_when_a_doubled_one_would_fit() {
        let mut governor = Governor::new(99);
        while governor.hz() > 24 {
            governor.judge(busy(20));
        }
        assert!((0..20).all(|_| !governor.judge(busy(6))), "within the budget, but a doubled rate would not be");
        assert_eq!((0..12).filter(|_| governor.judge(busy(2))).count(), 2);
        assert_eq!(governor.hz(), 99);
    }

    #[test]
    fn a_process_that_does_next_to_nothing_is_let_be() {
        let mut governor = Governor::new(99);
        let wall = Duration::from_secs(10);
        let idle = Usage { wall, process: Duration::from_millis(40), agent: Duration::from_millis(30) };
        assert!((0..100).all(|_| !governor.judge(idle)));
        assert_eq!(Governor::new(1).hz(), 1);
    }
}
