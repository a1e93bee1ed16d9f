//! Work that may never come back, with an end.
//!
//! A PKCS #11 module is foreign code in this process, and a call into it cannot be interrupted. So everything it does is done
//! by a thread of its own: who waits for that thread stops waiting when the time is over. A thread that hangs is left behind;
//! it ends with the process.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// A value that lives on a thread of its own, and is worked with there.
pub(super) struct Bounded<T> {
    work: Sender<Job<T>>,
    time: Duration,
}

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The time is over.
    TimedOut(Duration),
    /// The thread is gone: the work panicked, or the system gives no thread.
    Gone,
}

impl<T: 'static> Bounded<T> {
    /// Makes the value on its thread. Each piece of work, this one included, gets `time`.
    pub(super) fn start<E: Send + From<NoAnswer> + 'static>(
        time: Duration,
        make: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<Self, E> {
        let (work, jobs) = mpsc::channel::<Job<T>>();
        let (tell, told) = mpsc::channel();
        let body = move || {
            let mut value = match make() {
                Ok(value) => value,
                // Nobody waits any more where the time is over.
                Err(error) => return drop(tell.send(Err(error))),
            };
            let _ = tell.send(Ok(()));
            while let Ok(job) = jobs.recv() {
                job(&mut value);
            }
        };
        thread::Builder::new().name("token".into()).spawn(body).map_err(|_| NoAnswer::Gone)?;
        let outcome: Result<Result<(), E>, NoAnswer> = told.recv_timeout(time).map_err(|error| no_answer(error, time));
        outcome??;
        Ok(Self { work, time })
    }

    /// Has this done with the value.
    pub(super) fn ask<R: Send + 'static>(&self, job: impl FnOnce(&mut T) -> R + Send + 'static) -> Result<R, NoAnswer> {
        let (tell, told) = mpsc::channel();
        let job = move |value: &mut T| drop(tell.send(job(value)));
        self.work.send(Box::new(job)).map_err(|_| NoAnswer::Gone)?;
        told.recv_timeout(self.time).map_err(|error| no_answer(error, self.time))
    }
}

fn no_answer(error: RecvTimeoutError, time: Duration) -> NoAnswer {
    match error {
        RecvTimeoutError::Timeout => NoAnswer::TimedOut(time),
        RecvTimeoutError::Disconnected => NoAnswer::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(60);

    impl From<NoAnswer> for String {
        fn from(error: NoAnswer) -> Self {
            format!("{error:?}")
        }
    }

    #[test]
    fn work_is_done_where_the_value_lives() {
        let bounded = Bounded::start(TIME, || Ok::<_, String>(vec![1])).unwrap();
        bounded.ask(|value| value.push(2)).unwrap();
        assert_eq!(bounded.ask(|value| value.clone()), Ok(vec![1, 2]));
        let error = Bounded::start(TIME, || Err::<(), _>("no module".to_owned())).err();
        assert_eq!(error.as_deref(), Some("no module"));
    }

    #[test]
    fn what_hangs_is_left_behind() {
        let short = Duration::from_millis(10);
        // Never answers, and ends with the test: nobody sends.
        let (_keep, never) = mpsc::channel::<()>();
        let hanging = Bounded::start(short, move || never.recv().map_err(|_| String::new())).err();
        assert_eq!(hanging, Some(NoAnswer::TimedOut(short).into()));
        let (_keep, never) = mpsc::channel::<()>();
        let bounded = Bounded::start(short, || Ok::<_, String>(())).unwrap();
        assert_eq!(bounded.ask(move |()| never.recv().is_ok()), Err(NoAnswer::TimedOut(short)));
    }

    #[test]
    fn a_panic_is_an_answer() {
        let bounded = Bounded::start(TIME, || Ok::<_, String>(())).unwrap();
        assert_eq!(bounded.ask(|()| panic!("the module")), Err::<(), _>(NoAnswer::Gone));
        assert_eq!(bounded.ask(|()| ()), Err(NoAnswer::Gone));
    }
}
