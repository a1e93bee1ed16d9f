//! Enrolling what was unpacked before pratique was there: the judge's events as those of the API.
//!
//! The work has a task of its own, which stops when nobody takes its events any more. Before it ends it takes away what it
//! has made in containerd, and the daemon waits for that when it ends itself.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::desk::{Desk, as_proto};
use crate::judge::{self, EnrollOrder, Enrolled, LayerBegun};
use crate::proto::enroll_event::Event;
use crate::proto::{EnrollEvent, EnrollFailure, EnrollFinished, EnrollRequest, EnrolledImage, EnrolledLayer};
use crate::remedy::{Remedy, one_line};
use crate::verify::Answer;

/// How many events may wait for whoever takes them.
const WAITING: usize = 16;

/// Enrolls what is asked for, until it is done or has to stop, and tells how it goes.
pub(super) fn events(
    desk: Arc<Desk>,
    request: EnrollRequest,
    stop: impl Future<Output = ()> + Send + 'static,
) -> impl Stream<Item = EnrollEvent> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let enrolling = async move { enroll(&desk, &order(request), &sender).await };
    // A panic in the task comes as an error of the task.
    let ended = tokio::spawn(enrolling).map(|ended| ended.unwrap_or_else(|_| panicked()));
    // When they end, the receiver goes, and with it whoever has listened.
    let events = stream::unfold(receiver, next).map(event).take_until(Box::pin(stop));
    events.chain(stream::once(ended)).map(|event| EnrollEvent { event: Some(event) })
}

async fn next(
    mut receiver: Receiver<judge::EnrollEvent>,
) -> Option<(judge::EnrollEvent, Receiver<judge::EnrollEvent>)> {
    let event = receiver.recv().await?;
    Some((event, receiver))
}

async fn enroll(desk: &Desk, order: &EnrollOrder, events: &Sender<judge::EnrollEvent>) -> Event {
    let Some(enroller) = desk.enroller() else { return not_served() };
    tracing::info!(?order, "enrolling what was unpacked before");
    match enroller.enroll(desk.judge(), order, events).await {
        Ok(()) => Event::Finished(EnrollFinished {}),
        Err(error) => {
            tracing::warn!(
                code = error.code().as_str(),
                reason = one_line(&error),
                "the enrollment has not come to its end"
            );
            failed(error.code().as_str(), &one_line(&error), error.remedy().as_deref())
        }
    }
}

fn order(request: EnrollRequest) -> EnrollOrder {
    let EnrollRequest { images, namespaces, snapshotters, dry_run, unverified } = request;
    EnrollOrder { images, namespaces, snapshotters, dry_run, unverified }
}

fn event(event: judge::EnrollEvent) -> Event {
    match event {
        judge::EnrollEvent::Layer(begun) => Event::Layer(layer(begun)),
        judge::EnrollEvent::Image(enrolled) => {
            log(&enrolled);
            Event::Image(image(enrolled))
        }
    }
}

fn layer(LayerBegun { image, snapshotter, number, of, size }: LayerBegun) -> EnrolledLayer {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    EnrolledLayer { image, snapshotter, number: count(number), of: count(of), size }
}

fn image(enrolled: Enrolled) -> EnrolledImage {
    let Enrolled { namespace, image, digest, snapshotter, answer, code, line, layers } = enrolled;
    EnrolledImage {
        containerd_namespace: namespace,
        image,
        digest,
        snapshotter,
        answer: as_proto(answer).into(),
        code: code.as_str().to_owned(),
        line,
        known: layers.known,
        compared: layers.compared,
        unverified: layers.unverified,
    }
}

fn log(enrolled: &Enrolled) {
    let (namespace, code, line) = (&enrolled.namespace, enrolled.code.as_str(), &enrolled.line);
    if enrolled.answer == Answer::Admit && enrolled.layers.unverified == 0 {
        tracing::info!(namespace, code, line, "enrollment");
    } else {
        tracing::warn!(namespace, code, line, "enrollment");
    }
}

fn not_served() -> Event {
    let remedy = "set `gates.diff = true` and `gates.run = true` in config.toml";
    failed("gate-not-served", "this daemon keeps no ledger", Some(remedy))
}

fn panicked() -> Event {
    failed("internal-error", "pratiqued failed while it enrolled", Some("report it with the daemon's log"))
}

fn failed(code: &str, message: &str, remedy: Option<&str>) -> Event {
    let remedy = remedy.unwrap_or_default().to_owned();
    Event::Failed(EnrollFailure { code: code.to_owned(), message: message.to_owned(), remedy })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::testing::judge;
    use crate::policy::Mode;

    async fn told(stop: impl Future<Output = ()> + Send + 'static) -> Vec<Event> {
        let desk = Arc::new(Desk::new(judge(), Mode::Enforce));
        let events = events(desk, EnrollRequest::default(), stop);
        events.filter_map(|event| std::future::ready(event.event)).collect().await
    }

    #[tokio::test]
    async fn a_daemon_without_a_ledger_says_so_and_that_is_the_end() {
        let told = told(std::future::pending()).await;
        let [Event::Failed(failure)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(failure.code, "gate-not-served");
    }

    #[tokio::test]
    async fn a_daemon_that_ends_gives_an_end_to_its_events() {
        let told = told(std::future::ready(())).await;
        assert!(matches!(told.as_slice(), [Event::Failed(_)]), "{told:?}");
    }
}
