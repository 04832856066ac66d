//! Every sample carries the trace it worked for and its labels, whichever thread the task was on.
#![cfg(all(target_os = "linux", not(feature = "pprof-fallback")))]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::symbols::Functions;
use support::{Collector, alone, soak_time};
use tephra_agent::hooks::sampler::{Session, storm};
use tephra_agent::{Agent, Guard, Labels, TraceContext, attach, attach_labels, in_context, in_labels};
use tokio::task::yield_now;
use tracing::{Instrument, info_span};
use tracing_subscriber::layer::SubscriberExt;

/// Functions that burn CPU and are told apart by name; the trace of each starts with its number.
macro_rules! burners {
    ($($number:literal $name:ident),*) => {
        $(
            #[inline(never)]
            fn $name() {
                // Different code, so that no linker folds them into one.
                let from = black_box($number * 1_000u64);
                let started = Instant::now();
                while started.elapsed() < Duration::from_micros(300) {
                    for i in from..from + 2_000 {
                        black_box(i.wrapping_mul($number));
                    }
                }
            }
        )*
        const BURNERS: &[(u8, &str, fn())] = &[$(($number, stringify!($name), $name)),*];
    };
}

burners!(1 burner_one, 2 burner_two, 3 burner_three, 4 burner_four, 5 burner_five, 6 burner_six, 7 burner_seven);

fn context_of(number: u8) -> TraceContext {
    TraceContext { trace_id: [number; 16], ..TraceContext::root() }
}

fn labels_of(number: u8) -> Labels {
    Labels::of("burner", BURNERS[usize::from(number) - 1].1)
}

fn working_for(number: u8) -> (Guard, Guard) {
    (attach(context_of(number)), attach_labels(labels_of(number)))
}

/// Burns under the context and the label with the burner's number, in every way they can be set.
async fn labelled(number: u8, burn: fn()) {
    let work = in_context(context_of(number), async {
        for _ in 0..10 {
            burn();
            yield_now().await;
        }
        // A span joins the trace of the future that it is made in, and so does a span inside it.
        async {
            for _ in 0..5 {
                burn();
                yield_now().await;
                async {
                    burn();
                    yield_now().await;
                    burn();
                }
                .instrument(info_span!("inner"))
                .await;
            }
        }
        .instrument(info_span!("outer"))
        .await;
        // A guard that lasts until the next await, in another trace, and back.
        let other = number % BURNERS.len() as u8 + 1;
        {
            let _label = working_for(other);
            BURNERS[usize::from(other) - 1].2();
        }
        burn();
        let blocking = move || {
            let _label = working_for(number);
            burn();
        };
        tokio::task::spawn_blocking(blocking).await.unwrap();
        burn();
        // The thread stays, and another takes over its other tasks.
        tokio::task::block_in_place(burn);
        burn();
        // Guards that go in the order they came.
        let (outer, inner) = (working_for(other), working_for(number));
        drop(outer);
        burn();
        drop(inner);
        burn();
        // A panic passes through a span and a guard of another trace.
        let panicking = std::panic::catch_unwind(|| {
            let _span = info_span!("panicking").entered();
            let _label = working_for(other);
            BURNERS[usize::from(other) - 1].2();
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(panicking.is_err());
        burn();
        // A pool's threads know nothing of traces until they are told.
        let (context, labels) = (tephra_agent::current().unwrap(), tephra_agent::current_labels());
        let told = || {
            let _label = (attach(context), attach_labels(labels));
            burn();
        };
        rayon::join(told, told);
        burn();
    });
    in_labels(labels_of(number), work).await;
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(8).thread_name("labelled").enable_all().build().unwrap()
}

/// Runs tasks of all traces side by side until there is enough.
fn work_until(enough: impl Fn() -> bool) {
    let runtime = runtime();
    runtime.block_on(async {
        while !enough() {
            let tasks = (0..64).map(|i| {
                let (number, _, burn) = BURNERS[i % BURNERS.len()];
                tokio::spawn(labelled(number, burn))
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap();
            }
        }
    });
}

fn trace_spans() {
    let subscriber = tracing_subscriber::registry().with(tephra_agent::tracing_layer());
    // The other test may have done so.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

#[derive(Debug, Default)]
struct Verdict {
    right: AtomicU64,
    wrong: AtomicU64,
    none: AtomicU64,
}

/// Signals as fast as they can be sent, at any instruction of any thread, while tasks hop between threads. A million samples
/// and more with `TEPHRA_SOAK_SECONDS`.
#[test]
fn no_sample_of_a_storm_carries_another_tasks_trace() {
    let _alone = alone();
    trace_spans();
    let functions = Functions::of_this_binary();
    let known = (BURNERS[0].2 as *const () as u64, BURNERS[0].1);
    let burners: Vec<_> = BURNERS.iter().map(|(number, name, _)| (*number, functions.loaded(known, name))).collect();
    let verdict = Arc::new(Verdict::default());
    let session = Session::collect(1_000, {
        let verdict = Arc::clone(&verdict);
        move |stack, trace_id, labels| {
            let burning = |pc: &u64| burners.iter().find(|(_, code)| code.iter().any(|code| code.contains(pc)));
            let Some((number, _)) = stack.iter().find_map(burning) else { return };
            let count = match trace_id {
                Some(id) if id == [*number; 16] && labels == labels_of(*number) => &verdict.right,
                Some(_) => &verdict.wrong,
                None => &verdict.none,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let started = Instant::now();
    let lasts = soak_time();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| storm("labelled", &stop));
        work_until(|| verdict.right.load(Ordering::Relaxed) >= 20_000 && started.elapsed() >= lasts);
        stop.store(true, Ordering::Relaxed);
        assert!(storm.join().unwrap() > 20_000);
    });
    drop(session);
    println!("{verdict:?}");
    assert_eq!((verdict.wrong.load(Ordering::Relaxed), verdict.none.load(Ordering::Relaxed)), (0, 0), "{verdict:?}");
}

#[test]
fn no_sample_carries_another_tasks_trace() {
    let _alone = alone();
    let collector = Collector::start();
    trace_spans();
    let agent = Agent::builder("labels")
        .endpoint(collector.endpoint())
        .cpu_hz(1_000)
        .window(Duration::from_secs(1))
        .start()
        .unwrap();
    // However slow the machine is, enough samples to tell.
    work_until(|| agent.stats().cpu_samples >= 1_500);
    drop(agent);

    let functions = Functions::of_this_binary();
    let (mut right, mut wrong, mut none) = (0, 0, 0);
    for row in collector.windows().iter().flat_map(|window| window.rows("cpu")) {
        let burning = BURNERS.iter().find(|(_, name, _)| functions.on_stack(&row.stack, name));
        let Some((number, ..)) = burning else { continue };
        match row.trace_id {
            Some(id)
                if id == [*number; 16]
                    && row.labels == [("burner".to_owned(), BURNERS[usize::from(*number) - 1].1.to_owned())] =>
            {
                right += row.samples
            }
            Some(_) => wrong += row.samples,
            None => none += row.samples,
        }
    }
    assert_eq!((wrong, none), (0, 0), "besides {right} right ones");
    assert!(right > 500, "{right} samples are too few to tell");
}
