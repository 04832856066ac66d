//! Exact sums by node and replicate.
//!
//! A scan adds the sum of a stack once for each part and replicate, so nearly all cells are final as they come: they are kept in
//! lists, which cost a fraction of what a hash table does, and are added up where a list has doubled.

/// Sums of one type.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// By replicate.
    lists: Vec<List>,
    /// What no longer fits 64 bits, by node and replicate.
    large: Vec<(u32, u16, u128, u128)>,
    /// Cells of all lists.
    cells: usize,
    /// How many sums there were when all of them were last counted.
    counted: usize,
}

#[derive(Debug, Default)]
struct List {
    cells: Vec<Cell>,
    /// Length after it was last added up.
    added_up: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    node: u32,
    value: u64,
    samples: u64,
}

/// A list shorter than this is not worth adding up.
const SHORT: usize = 1 << 14;

impl Sums {
    pub(super) fn add(&mut self, node: u32, replicate: u16, value: u128, samples: u128) {
        let (Ok(small), Ok(small_samples)) = (u64::try_from(value), u64::try_from(samples)) else {
            self.large.push((node, replicate, value, samples));
            return;
        };
        self.cells += 1;
        let list = self.list(replicate);
        list.cells.push(Cell { node, value: small, samples: small_samples });
        if list.cells.len() >= 2 * list.added_up.max(SHORT) {
            self.cells -= list.add_up();
        }
    }

    /// Adds what others are; `moved` says what their nodes are here.
    pub(super) fn absorb(&mut self, other: Self, moved: &[u32]) {
        let here = |node: u32| moved.get(node as usize).copied().unwrap_or_default();
        for (theirs, replicate) in other.lists.into_iter().zip(0..) {
            let moved = theirs.cells.into_iter().map(|cell| Cell { node: here(cell.node), ..cell });
            self.list(replicate).cells.extend(moved);
        }
        self.large.extend(other.large.into_iter().map(|(node, at, value, samples)| (here(node), at, value, samples)));
        self.cells += other.cells;
    }

    /// True when there are more than `limit` sums. Between the limit and an eighth more it may not notice yet.
    pub(super) fn exceed(&mut self, limit: usize) -> bool {
        if self.cells + self.large.len() <= limit.max(self.counted + limit / 8) {
            return false;
        }
        self.cells -= self.lists.iter_mut().map(List::add_up).sum::<usize>();
        self.counted = self.cells + self.large.len();
        self.counted > limit
    }

    fn list(&mut self, replicate: u16) -> &mut List {
        let at = usize::from(replicate);
        if self.lists.len() <= at {
            self.lists.resize_with(at + 1, List::default);
        }
        &mut self.lists[at]
    }

    /// Calls `each` with every sum as (node, replicate, value, samples): by node, as `place` says where each goes, then by replicate.
    ///
    /// # Errors
    /// The first that `each` answers.
    pub(super) fn in_order<E>(
        mut self,
        place: &[u32],
        mut each: impl FnMut(u32, u16, u128, u128) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.large.is_empty() {
            return self.sorted(place).chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).try_for_each(|same| {
                let sum = same.iter().fold((0, 0), |sum, one| (sum.0 + one.2, sum.1 + one.3));
                each(same[0].0, same[0].1, sum.0, sum.1)
            });
        }
        // Nodes are small numbers: counting puts the cells in their order.
        let place = |cell: &Cell| place.get(cell.node as usize).map_or(0, |place| *place as usize);
        let mut ends =
            vec![0; self.lists.iter().flat_map(|list| &list.cells).map(place).max().map_or(0, |most| most + 1)];
        self.lists.iter().flat_map(|list| &list.cells).for_each(|cell| ends[place(cell)] += 1);
        let mut before = 0;
        for end in &mut ends {
            before += std::mem::replace(end, before);
        }
        let mut cells = vec![(0u16, 0u64, 0u64); before];
        for (list, replicate) in self.lists.iter_mut().zip(0..) {
            for cell in std::mem::take(&mut list.cells) {
                let end = &mut ends[place(&cell)];
                cells[*end] = (replicate, cell.value, cell.samples);
                *end += 1;
            }
        }
        let mut start = 0;
        for (end, node) in ends.into_iter().zip(0..) {
            for same in cells[start..end].chunk_by(|a, b| a.0 == b.0) {
                let wide = |sum: (u128, u128), cell: &(u16, u64, u64)| {
                    (sum.0 + u128::from(cell.1), sum.1 + u128::from(cell.2))
                };
                let (value, samples) = same.iter().fold((0, 0), wide);
                each(node, same[0].0, value, samples)?;
            }
            start = end;
        }
        Ok(())
    }

    /// All cells, sorted: for the rare sums beyond 64 bits.
    fn sorted(self, place: &[u32]) -> Vec<(u32, u16, u128, u128)> {
        let mut all = self.large;
        for (list, replicate) in self.lists.into_iter().zip(0..) {
            let wide = |cell: Cell| (cell.node, replicate, u128::from(cell.value), u128::from(cell.samples));
            all.extend(list.cells.into_iter().map(wide));
        }
        for one in &mut all {
            one.0 = place.get(one.0 as usize).copied().unwrap_or_default();
        }
        all.sort_unstable();
        all
    }
}

impl List {
    /// Makes one cell of those of a node; answers how many fewer there are.
    fn add_up(&mut self) -> usize {
        let before = self.cells.len();
        self.cells.sort_unstable_by_key(|cell| cell.node);
        self.cells.dedup_by(|next, kept| {
            if next.node != kept.node {
                return false;
            }
            let sums = (kept.value.checked_add(next.value), kept.samples.checked_add(next.samples));
            // What does not fit stays two cells: both are right.
            let (Some(value), Some(samples)) = sums else { return false };
            (kept.value, kept.samples) = (value, samples);
            true
        });
        self.added_up = self.cells.len();
        before - self.added_up
    }
}
