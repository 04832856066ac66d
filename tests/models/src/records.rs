//! The ring that samples leave a signal handler through.

use loom::sync::Arc;
use loom::thread;

use crate::ring::Ring;

#[test]
fn a_record_comes_out_whole_and_in_order_while_the_ring_wraps_around() {
    loom::model(|| {
        let ring = Arc::new(Ring::new());
        let producer = thread::spawn({
            let ring = Arc::clone(&ring);
            move || (1..=3u64).filter(|&i| ring.push(&[i], &[!i])).collect::<Vec<_>>()
        });
        let mut record = Vec::new();
        let mut came = Vec::new();
        let mut pop = || {
            if ring.pop(&mut record) {
                assert_eq!(record[1..], [!record[0]], "whole");
                came.push(record[0]);
            }
        };
        pop();
        pop();
        let went = producer.join().unwrap();
        pop();
        pop();
        assert_eq!(came, went, "all that went in, in order");
        assert!(!went.is_empty() && went[0] == 1, "an empty ring has room");
    });
}
