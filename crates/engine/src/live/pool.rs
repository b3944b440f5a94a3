//! The connections of one database in service.
//!
//! An idle database has one. All are alike: whoever needs one takes the one that was used last; where
//! all are at work another is opened, as far as the budget goes; then one waits, but not for long.
//! Readers never take them all, since they may be slow: the writer finds one of its own.

use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::cache::budget::{Budget, Cost, Reservation};
use crate::connect::Database;
use crate::error::{Error, Fault, Unfit};
use crate::judge::{self, Check};
use crate::live::Limits;
use crate::live::conn::Conn;
use crate::live::error::{Busy, LiveError};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard, lock, wait_until};

/// What a connection is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Reader,
    /// There is one at a time.
    Writer,
}

#[derive(Debug)]
pub(crate) struct Pool {
    path: Arc<Path>,
    limits: Limits,
    protected: &'static [&'static str],
    budget: Arc<Budget>,
    state: Mutex<State>,
    returned: Condvar,
    /// Whether the stage is `OutOfService` or `Closed`, for those who only want to know that.
    condemned: AtomicBool,
}

#[derive(Debug)]
struct State {
    #[allow(clippy::vec_box, reason = "a pointer moves faster than a connection's two hundred bytes")]
    idle: Vec<Box<Conn>>,
    /// Connections that were taken, also those that are still being opened.
    out: Vec<Out>,
    /// Connections that are being closed.
    closing: usize,
    /// Who waits for a connection to come back: waking nobody would cost a system call at every read.
    waiting: usize,
    next: u64,
    /// For the first connection and for the descriptors of those that were closed.
    base: Reservation,
    /// For the connections beyond the first.
    further: Vec<Reservation>,
    /// Descriptors of closed connections that SQLite keeps for the next.
    parked: usize,
    stage: Stage,
}

#[derive(Debug)]
struct Out {
    number: u64,
    since: Instant,
    role: Role,
}

#[derive(Clone, Debug)]
enum Stage {
    Serving,
    /// Nobody gets a connection until the file was closed, opened again and checked.
    Reopening,
    OutOfService(Arc<Error>),
    Closed,
}

/// A connection that was taken; it goes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    pool: &'a Pool,
    number: u64,
    pub(crate) since: Instant,
    // Only none while it is opened or dropped.
    conn: Option<Box<Conn>>,
}

impl Pool {
    pub(crate) fn new(
        db: Database,
        limits: Limits,
        protected: &'static [&'static str],
        budget: Arc<Budget>,
        base: Reservation,
    ) -> crate::Result<Self> {
        let path = Arc::from(db.path());
        let conn = Box::new(Conn::around(db, protected)?);
        let state = State {
            idle: Vec::from([conn]),
            out: Vec::with_capacity(limits.connections),
            closing: 0,
            waiting: 0,
            next: 0,
            base,
            further: Vec::new(),
            parked: 0,
            stage: Stage::Serving,
        };
        Ok(Self {
            path,
            limits,
            protected,
            budget,
            state: Mutex::new(state),
            returned: Condvar::new(),
            condemned: AtomicBool::new(false),
        })
    }

    pub(crate) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Takes a connection.
    pub(crate) fn take(&self, role: Role) -> Result<Taken<'_>, LiveError> {
        if let Some(taken) = self.take_idle(role) {
            return Ok(taken);
        }
        let mut state = lock(&self.state);
        let deadline = Instant::now() + self.limits.wait;
        // The writer has a better right to a connection than databases that nobody uses.
        let mut may_evict = role == Role::Writer;
        loop {
            match &state.stage {
                Stage::Serving => {
                    if self.admits(&state, role) {
                        if let Some(conn) = state.idle.pop() {
                            return Ok(self.hand_out(&mut state, role, Some(conn)));
                        }
                        if self.has_room(&state) {
                            if let Some(reservation) = self.reserve_further(&mut state) {
                                return self.open_further(state, role, reservation);
                            }
                            if may_evict {
                                drop(state);
                                may_evict = self.budget.make_room();
                                state = lock(&self.state);
                                continue;
                            }
                        }
                    }
                    if self.waits_in_vain(&state, role) {
                        return Err(self.busy(Busy::Stuck));
                    }
                }
                Stage::Reopening => {}
                Stage::OutOfService(reason) => return Err(out_of_service(reason)),
                Stage::Closed => return Err(LiveError::Closed { path: self.path.to_path_buf() }),
            }
            state = self.wait(state, deadline).ok_or_else(|| self.busy(Busy::Connections))?;
        }
    }

    /// Takes a connection if one is idle.
    pub(crate) fn take_idle(&self, role: Role) -> Option<Taken<'_>> {
        let mut state = lock(&self.state);
        if !matches!(state.stage, Stage::Serving) || !self.admits(&state, role) {
            return None;
        }
        let conn = state.idle.pop()?;
        Some(self.hand_out(&mut state, role, Some(conn)))
    }

    fn hand_out(&self, state: &mut State, role: Role, conn: Option<Box<Conn>>) -> Taken<'_> {
        let (number, since) = (state.next, Instant::now());
        state.next += 1;
        state.out.push(Out { number, since, role });
        Taken { pool: self, number, since, conn }
    }

    /// Whether one more may have a connection: readers leave one to the writer.
    fn admits(&self, state: &State, role: Role) -> bool {
        let of_readers = || state.out.iter().filter(|out| out.role == Role::Reader).count();
        role == Role::Writer || of_readers() < self.limits.readers()
    }

    /// Whether there may be one more connection, as far as this database is concerned.
    fn has_room(&self, state: &State) -> bool {
        state.idle.len() + state.out.len() + state.closing < self.limits.connections
    }

    /// Waits for a connection to come back, or for another stage; none when `deadline` has passed already.
    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        deadline: Instant,
    ) -> Option<MutexGuard<'a, State>> {
        state.waiting += 1;
        if let Some(mut state) = wait_until(&self.returned, state, deadline) {
            state.waiting -= 1;
            return Some(state);
        }
        lock(&self.state).waiting -= 1;
        None
    }

    /// Whether all that would have to come back first have been at work for too long: for a reader that
    /// is not admitted these are the readers.
    fn waits_in_vain(&self, state: &State, role: Role) -> bool {
        let of_all = self.admits(state, role);
        let mut awaited = state.out.iter().filter(|out| of_all || out.role == Role::Reader).peekable();
        awaited.peek().is_some() && awaited.all(|out| self.is_stuck(out))
    }

    fn is_stuck(&self, out: &Out) -> bool {
        out.since.elapsed() > self.limits.stuck_after
    }

    /// Whether an operation on this database does not come back.
    pub(crate) fn stuck(&self) -> bool {
        lock(&self.state).out.iter().any(|out| self.is_stuck(out))
    }

    /// Whether a connection is in use.
    pub(crate) fn is_at_work(&self) -> bool {
        lock(&self.state).is_at_work()
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        let state = lock(&self.state);
        state.idle.len() + state.out.len() + state.closing
    }

    /// Whether the database is out of service or closed.
    pub(crate) fn is_condemned(&self) -> bool {
        self.condemned.load(Ordering::Relaxed)
    }

    /// What was found, where the database is out of service; also after it was closed.
    pub(crate) fn why_out_of_service(&self) -> Option<Error> {
        match &lock(&self.state).stage {
            Stage::OutOfService(reason) => Some(reason.duplicate()),
            _ => None,
        }
    }

    fn reserve_further(&self, state: &mut State) -> Option<Reservation> {
        let cost = if state.parked > 0 { Cost::REOPENED } else { Cost::FURTHER };
        let mut reservation = self.budget.try_reserve(cost)?;
        if state.parked > 0 {
            state.parked -= 1;
            reservation.merge(state.base.split_descriptors(1));
        }
        Some(reservation)
    }

    /// Reserves one more connection, for whoever opens one beside these; closes idle databases where there is no
    /// room, and waits.
    pub(crate) fn reserve_beside(&self) -> Result<Reservation, LiveError> {
        if let Some(reservation) = self.reserve_further(&mut lock(&self.state)) {
            return Ok(reservation);
        }
        let deadline = Instant::now() + self.limits.wait;
        self.budget.reserve(Cost::FURTHER, deadline).ok_or_else(|| self.busy(Busy::Connections))
    }

    /// Gives back what a connection took that was closed beside others: SQLite may have kept its descriptor.
    pub(crate) fn park(&self, mut reservation: Reservation) {
        let mut state = lock(&self.state);
        state.base.merge(reservation.split_descriptors(1));
        state.parked += 1;
        drop(state);
        drop(reservation);
    }

    fn open_further<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        role: Role,
        reservation: Reservation,
    ) -> Result<Taken<'a>, LiveError> {
        let mut taken = self.hand_out(&mut state, role, None);
        drop(state);
        match Conn::open(&self.path, self.protected) {
            Ok(conn) => {
                lock(&self.state).further.push(reservation);
                taken.conn = Some(Box::new(conn));
                Ok(taken)
            }
            Err(error) => {
                self.park(reservation);
                Err(LiveError::Failed(error))
            }
        }
    }

    /// Nobody gets a connection any more, until [`reopen`](Self::reopen) is done.
    pub(crate) fn suspend(&self) {
        let mut state = lock(&self.state);
        if matches!(state.stage, Stage::Serving) {
            state.stage = Stage::Reopening;
        }
    }

    /// Closes the file and opens it again, because what the disk holds is not known.
    ///
    /// Everything from the `-wal` goes into the main file, which is checked; after that the database
    /// serves again. Where any of that fails it is out of service.
    pub(crate) fn reopen(&self, mut mine: Taken<'_>) {
        // It counts as taken until this is done: whoever closes the database meanwhile waits for that.
        let own = mine.conn.take();
        let closed = self.close_connections(1, Instant::now() + self.limits.wait);
        let reopened = own.map_or(Ok(()), |conn| conn.db.close()).and(closed).and_then(|()| self.recover());
        let mut state = lock(&self.state);
        let next = match reopened {
            Ok(conn) => {
                mine.conn = Some(Box::new(conn));
                Stage::Serving
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "a database is out of service after a failed commit");
                self.condemned.store(true, Ordering::Relaxed);
                Stage::OutOfService(Arc::new(error))
            }
        };
        if matches!(state.stage, Stage::Reopening) {
            state.stage = next;
        }
        drop(state);
        drop(mine);
        self.returned.notify_all();
    }

    fn recover(&self) -> crate::Result<Conn> {
        let conn = Conn::open(&self.path, self.protected)?;
        match conn.db.checkpoint() {
            // What is in the -wal counts there as well: a full disk can be read, and readers outside of this
            // pool may keep it.
            Err(error) if matches!(error.fault(), Fault::Full | Fault::Busy) => {
                tracing::warn!(path = %self.path.display(), %error, "the -wal could not be emptied");
            }
            emptied => emptied?,
        }
        judge::refuse_damage(&conn.db, Check::Quick)?;
        Ok(conn)
    }

    /// Takes the database out of service, because it is damaged.
    pub(crate) fn condemn(&self, detail: String) {
        let mut state = lock(&self.state);
        if matches!(state.stage, Stage::Serving) {
            let reason = Error::unfit(&self.path, Unfit::Corrupt { detail });
            state.stage = Stage::OutOfService(Arc::new(reason));
            self.condemned.store(true, Ordering::Relaxed);
        }
        drop(state);
        self.returned.notify_all();
    }

    /// Waits until `deadline` for every connection but so many to come back and closes it.
    fn close_connections(&self, but: usize, deadline: Instant) -> crate::Result<()> {
        let mut state = lock(&self.state);
        while state.out.len() > but || state.closing > 0 {
            state = self.wait(state, deadline).ok_or_else(|| self.still_at_work())?;
        }
        let idle = mem::take(&mut state.idle);
        let further = mem::take(&mut state.further);
        let parked = mem::take(&mut state.parked);
        let parked = state.base.split_descriptors(parked);
        drop(state);
        let closed = idle.into_iter().map(|conn| conn.db.close()).fold(Ok(()), crate::Result::and);
        drop((further, parked));
        closed
    }

    /// Closes what nobody needs at the moment: all idle connections but one, and the memory of that one.
    pub(crate) fn rest(&self) {
        let mut state = lock(&self.state);
        let (mut spare, mut freed) = (Vec::new(), Vec::new());
        while state.idle.len() > 1 {
            spare.extend(state.idle.pop());
            if let Some(mut reservation) = state.further.pop() {
                let descriptor = reservation.split_descriptors(1);
                state.base.merge(descriptor);
                state.parked += 1;
                freed.push(reservation);
            }
        }
        let closing = spare.len();
        state.closing += closing;
        drop(state);
        // Closed after the lock is let go; the file stays open through the one that is left.
        for conn in spare {
            if let Err(error) = conn.db.close() {
                tracing::warn!(path = %self.path.display(), %error, "a connection could not be closed");
            }
        }
        lock(&self.state).closing -= closing;
        self.returned.notify_all();
        drop(freed);
        if let Some(taken) = self.take_idle(Role::Reader)
            && let Err(error) = taken.rest()
        {
            tracing::warn!(path = %self.path.display(), %error, "memory could not be given back");
        }
    }

    /// Ends service: nobody gets a connection any more, and those that are there are closed. The last
    /// of them empties the `-wal` into the file and removes it. May be tried again after an error; where
    /// `deadline` has passed already and something is at work, it goes on as if nothing had been said.
    pub(crate) fn close(&self, deadline: Instant) -> crate::Result<()> {
        let mut state = lock(&self.state);
        if state.is_at_work() && deadline <= Instant::now() {
            return Err(self.still_at_work());
        }
        if !matches!(state.stage, Stage::OutOfService(_)) {
            state.stage = Stage::Closed;
        }
        self.condemned.store(true, Ordering::Relaxed);
        drop(state);
        self.returned.notify_all();
        self.close_connections(0, deadline)?;
        // Whoever still has a clone of it does not keep others from opening theirs.
        let base = lock(&self.state).base.split();
        drop(base);
        Ok(())
    }

    pub(crate) fn busy(&self, reason: Busy) -> LiveError {
        LiveError::Busy { path: self.path.to_path_buf(), reason }
    }

    fn still_at_work(&self) -> Error {
        let detail = "operations on it did not end in time".to_owned();
        Error::unfit(&self.path, Unfit::Mismatch { detail })
    }
}

impl State {
    fn is_at_work(&self) -> bool {
        !self.out.is_empty() || self.closing > 0
    }
}

fn out_of_service(reason: &Arc<Error>) -> LiveError {
    LiveError::OutOfService { reason: Arc::clone(reason) }
}

impl std::ops::Deref for Taken<'_> {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.conn.as_ref().expect("it is there until it is dropped")
    }
}

impl std::ops::DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let conn = self.conn.take();
        if let Some(conn) = &conn {
            conn.stop_after(self.since, None);
            // A closure that panicked, or a statement that failed, may have left its transaction open.
            if !conn.db.is_autocommit() {
                let _ = conn.control("ROLLBACK -- of what was left");
            }
        }
        let mut state = lock(&self.pool.state);
        state.out.retain(|out| out.number != self.number);
        state.idle.extend(conn);
        let (is_awaited, serves) = (state.waiting > 0, matches!(state.stage, Stage::Serving));
        let rests = !state.is_at_work();
        drop(state);
        if rests {
            // Not every operation is within a lease whose end would say so.
            self.pool.budget.poke();
        }
        match (is_awaited, serves) {
            (false, _) => {}
            (true, true) => self.pool.returned.notify_one(),
            // Whoever closes the connections waits too, and must not miss it for a reader that cannot use it.
            (true, false) => self.pool.returned.notify_all(),
        }
    }
}
