//! Async callers while one app does not answer: the callers of others never notice.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::allow_list::AllowList;
use crate::tokens::{NewToken, Reach};

/// More than there are threads for.
const CALLERS: usize = 100;

/// One thread, so that what was spawned first has begun before what is spawned later.
fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// What a task says once those that were spawned before it have begun; none where it does not come back.
fn answer<T: Send + 'static>(runtime: &Runtime, task: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::channel();
    runtime.spawn(async move { tell.send(task.await) });
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while std::time::Instant::now() < deadline {
        runtime.block_on(tokio::task::yield_now());
        if let Ok(told) = told.recv_timeout(Duration::from_millis(1)) {
            return Some(told);
        }
    }
    None
}

#[test]
fn one_whose_writer_hangs() {
    let site = Site::new();
    let hub = site.hub("a");
    let [stuck, well] = ["news-24", "other-one"].map(|name| {
        created(&hub, name);
        hub.app(&id(name)).unwrap()
    });
    let (go, wait) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let writer = thread::spawn({
        let stuck = stuck.clone();
        move || {
            stuck.write(move |_| {
                let _ = (begun.send(()), wait.recv());
                Ok::<_, HubError>(())
            })
        }
    });
    has_begun.recv().unwrap();
    let runtime = runtime();
    let starts: Vec<_> = (0..CALLERS)
        .map(|at| {
            let stuck = stuck.clone();
            runtime.spawn(async move { stuck.start_stream_async(stream(&at.to_string())).await })
        })
        .collect();
    let read = answer(&runtime, async move {
        well.read_async(|tx| Ok::<_, HubError>(streams::count_active(tx)?)).await.unwrap()
    });
    go.send(()).unwrap();
    writer.join().unwrap().unwrap();
    for start in starts {
        let _ = runtime.block_on(start).unwrap();
    }
    assert_eq!(read, Some(0), "the other app's read comes back");
    drop(stuck);
    hub.close().unwrap();
}

#[test]
fn one_that_maintenance_needs_alone() {
    let site = Site::new();
    let mut config = site.config("a");
    config.wait = Duration::from_mins(1);
    let hub = Hub::open(&config, &Silent).unwrap();
    for name in ["news-24", "other-one"] {
        created(&hub, name);
    }
    let alone = hub.alone(&id("news-24")).unwrap();
    let runtime = runtime();
    let asked: Vec<_> = (0..CALLERS)
        .map(|_| {
            let hub = hub.clone();
            runtime.spawn(async move { hub.app_async(&id("news-24")).await.map(drop) })
        })
        .collect();
    let other = answer(&runtime, {
        let hub = hub.clone();
        async move { hub.app_async(&id("other-one")).await.map(drop) }
    });
    drop(alone);
    for asked in asked {
        runtime.block_on(asked).unwrap().unwrap();
    }
    assert!(matches!(other, Some(Ok(()))), "the other app opens: {other:?}");
    hub.close().unwrap();
}

#[test]
fn what_goes_on_for_a_caller_that_gave_up_counts_until_it_ends() {
    let site = Site::new();
    let hub = site.hub("a");
    created(&hub, "news-24");
    let lease = hub.app(&id("news-24")).unwrap();
    let runtime = runtime();
    let (at_work, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (go, wait) = mpsc::channel::<()>();
    let wait = Arc::new(std::sync::Mutex::new(wait));
    for _ in 0..CALLERS {
        let (lease, at_work, most, wait) =
            (lease.clone(), Arc::clone(&at_work), Arc::clone(&most), Arc::clone(&wait));
        let given_up = runtime.spawn(async move {
            let work = move |_: &Lease| {
                most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let _ = wait.lock().unwrap().recv();
                at_work.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            };
            lease.blocking(work).await
        });
        runtime.block_on(tokio::task::yield_now());
        given_up.abort();
        assert!(runtime.block_on(given_up).unwrap_err().is_cancelled());
    }
    let counted = answer(&runtime, {
        let lease = lease.clone();
        async move {
            drop(go);
            lease.blocking(|_| Ok(())).await.unwrap();
        }
    });
    drop(runtime);
    assert!(counted.is_some());
    assert!(most.load(Ordering::SeqCst) < CALLERS / 2, "{most:?} at the same time");
    drop(lease);
    hub.close().unwrap();
}

#[test]
fn so_many_that_no_thread_is_left_and_who_asks_is_found_out_all_the_same() {
    let site = Site::new();
    let hub = site.hub("a");
    let new = NewToken {
        name: "dashboard".to_owned(),
        reach: Reach::Global,
        tenant: TenantId::platform(),
        allowed_ips: AllowList::EVERYBODY,
    };
    let (_, token) = hub.create_token(&new).unwrap();
    let runtime = runtime();
    let (begun, has_begun) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Arc::new(std::sync::Mutex::new(wait));
    for hanging in 0..64 {
        let (hub, begun, wait) = (hub.clone(), begun.clone(), Arc::clone(&wait));
        let app = id(&format!("app-{}", hanging / 8));
        runtime.spawn(async move {
            hub.blocking(Some(&app), move |_| {
                begun.send(()).unwrap();
                let _ = wait.lock().map(|wait| wait.recv());
                Ok(())
            })
            .await
        });
    }
    let all_begun = answer(&runtime, async move {
        tokio::task::spawn_blocking(move || has_begun.iter().take(64).count()).await.unwrap()
    });
    assert_eq!(all_begun, Some(64));
    let asked = hub.clone();
    let found = answer(&runtime, async move { asked.authenticate_async(token.reveal(), None).await });
    assert!(found.is_some_and(|found| found.unwrap().is_some()), "it does not come back");
    drop(go);
}
