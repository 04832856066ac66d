//! What one tenant's contract asks for: every so often an order waits until all price lists that the tenant was ever sent were read again.
//! The tail that averages hide: hardly one order in a hundred, and each of them takes many times as long as the others.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::catalog::Catalog;
use crate::tenant::UMBRELLA;

/// Of that tenant's orders, which are a fifth of all: the slowest hundredth of all orders is mostly these, and they have a tenth of the CPU time.
const EVERY: u64 = 25;

/// One for each day of the five years since the contract was signed. Reading them takes about 50 ms.
const PRICE_LISTS: u64 = 5 * 365;

/// Which orders are audited, and what an audit must find.
#[derive(Debug)]
pub struct Audit {
    /// That tenant's, so far.
    orders: AtomicU64,
    /// Of the price lists as they were agreed.
    seal: u64,
}

impl Audit {
    /// Seals the price lists of a catalog.
    pub fn of(catalog: &Catalog) -> Self {
        Self { orders: AtomicU64::new(0), seal: recheck_price_lists(catalog) }
    }

    /// True for the first of that tenant's orders, and for every 25th after it. Asked once for each order.
    pub fn is_due(&self, tenant: Option<&str>) -> bool {
        tenant == Some(UMBRELLA) && self.orders.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVERY)
    }

    /// Whether the price lists still are what was agreed.
    pub fn holds(&self, catalog: &Catalog) -> bool {
        recheck_price_lists(catalog) == self.seal
    }
}

/// Reads every price of every list, byte by byte, into a seal (FNV-1a). Not inlined: profiles are asked for it by name.
#[inline(never)]
fn recheck_price_lists(catalog: &Catalog) -> u64 {
    let mut seal = 0xcbf2_9ce4_8422_2325_u64;
    for day in 0..PRICE_LISTS {
        for product in catalog.products() {
            // Prices fall by a ten-thousandth a day, looking back.
            let cents = product.price_cents * (10_000 - day) / 10_000;
            for byte in cents.to_le_bytes() {
                seal = (seal ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    seal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_25th_order_of_one_tenant_is_audited_and_no_other() {
        let audit = Audit::of(&Catalog::generate(3));
        let due = |tenant: Option<&str>| (0..75).filter(|_| audit.is_due(tenant)).count();
        assert_eq!([due(Some("acme")), due(None), due(Some(UMBRELLA)), due(Some("globex"))], [0, 0, 3, 0]);
    }

    #[test]
    fn an_audit_finds_that_a_price_list_is_another() {
        let audit = Audit::of(&Catalog::generate(3));
        assert!(audit.holds(&Catalog::generate(3)) && !audit.holds(&Catalog::generate(4)));
    }
}
