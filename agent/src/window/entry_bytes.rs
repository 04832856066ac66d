//! How much memory an entry of a table takes at most, which is what a window's budget is counted in.

/// The most that an entry of a list costs: lists grow by doubling.
pub(super) const fn in_list<T>() -> usize {
    2 * size_of::<T>()
}

/// The most that an entry of a hash table costs, in bytes: it is filled to seven eighths, has a byte more per place, and grows
/// by doubling.
pub(super) const fn in_map<T>() -> usize {
    ((size_of::<T>() + 1) * 16).div_ceil(7)
}
