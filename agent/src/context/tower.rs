//! Requests take their trace from the `traceparent` header, and their labels from what they ask for: a `tower` layer for axum,
//! tonic and hyper services.

mod route;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Extensions, HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{Guard, Labels, TraceContext};
use crate::spans::{self, OpenSpan, Status};

/// Labels the samples taken while a request is served with the request's trace and its `route`, and reports how long it took.
///
/// The trace comes from the `traceparent` header; a request without a valid one starts a new trace.
///
/// ```
/// let app: axum::Router = axum::Router::new().layer(tephra_agent::tower_layer());
/// ```
pub fn tower_layer() -> TraceLayer {
    TraceLayer { route: |_| None, labels: Arc::default() }
}

/// See [`tower_layer()`].
#[derive(Debug, Clone)]
pub struct TraceLayer {
    route: RouteOf,
    labels: Arc<[LabelOf]>,
}

/// Reads a request's route from what the framework left in its extensions.
type RouteOf = fn(&Extensions) -> Option<&str>;

/// A label, and how its value is read from a request.
#[derive(Debug, Clone, Copy)]
struct LabelOf {
    name: &'static str,
    value: for<'a> fn(&'a HeaderMap, &'a Extensions) -> Option<&'a str>,
}

impl TraceLayer {
    /// Names routes the way the framework does. Without it, a route is the method and the path with whatever looks like
    /// an id replaced: `GET /orders/{id}`.
    ///
    /// ```
    /// use axum::extract::MatchedPath;
    ///
    /// let layer = tephra_agent::tower_layer().route_by(|request| Some(request.get::<MatchedPath>()?.as_str()));
    /// let app: axum::Router = axum::Router::new().layer(layer);
    /// ```
    #[must_use]
    pub fn route_by(self, route: fn(&Extensions) -> Option<&str>) -> Self {
        Self { route, ..self }
    }

    /// Labels samples with something of the request, such as its tenant. Few values: see [`Labels`].
    ///
    /// ```
    /// let layer = tephra_agent::tower_layer().label_by("tenant", |headers, _| headers.get("x-tenant")?.to_str().ok());
    /// let app: axum::Router = axum::Router::new().layer(layer);
    /// ```
    #[must_use]
    pub fn label_by(
        self,
        name: &'static str,
        value: for<'a> fn(&'a HeaderMap, &'a Extensions) -> Option<&'a str>,
    ) -> Self {
        let labels = self.labels.iter().copied().chain([LabelOf { name, value }]).collect();
        Self { labels, ..self }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = TracedService<S>;

    fn layer(&self, inner: S) -> TracedService<S> {
        TracedService { inner, layer: self.clone() }
    }
}

/// A service whose requests are labelled: see [`tower_layer()`].
#[derive(Debug, Clone)]
pub struct TracedService<S> {
    inner: S,
    layer: TraceLayer,
}

impl<S, B, R> Service<Request<B>> for TracedService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TracedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let context = incoming(request.headers()).map_or_else(TraceContext::root, |caller| caller.child());
        // Names cost something, and while no agent runs nobody reads them.
        let route = spans::are_recorded().then(|| {
            let named = (self.layer.route)(request.extensions());
            route::name(request.method(), request.uri().path(), named)
        });
        let labels = route.as_ref().map_or(Labels::NONE, |route| {
            let read = |label: &LabelOf| Some((label.name, (label.value)(request.headers(), request.extensions())?));
            let others = self.layer.labels.iter().filter_map(read);
            others.fold(Labels::of("route", route), |labels, (name, value)| labels.with(name, value))
        });
        let span = OpenSpan::start(context, route);
        let _label = Guard::enter(Some(context), labels);
        TracedFuture { future: self.inner.call(request), context, labels, span }
    }
}

pin_project! {
    /// The response of a labelled request. Dropped before it is ready, as when a client hangs up, it reports
    /// the time until then.
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct TracedFuture<F> {
        #[pin]
        future: F,
        context: TraceContext,
        labels: Labels,
        span: OpenSpan,
    }
}

impl<F, R, E> Future for TracedFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _label = Guard::enter(Some(*this.context), *this.labels);
        let outcome = ready!(this.future.poll(cx));
        this.span.finish(status(&outcome));
        Poll::Ready(outcome)
    }
}

/// The caller's context. Several `traceparent` headers contradict each other, so none of them counts.
fn incoming(headers: &HeaderMap) -> Option<TraceContext> {
    let mut headers = headers.get_all("traceparent").iter();
    let header = headers.next()?;
    if headers.next().is_some() {
        return None;
    }
    TraceContext::parse_traceparent(header.to_str().ok()?)
}

/// A server's failure, in the words of HTTP or gRPC. A 4xx is the client's, and the service did what it should.
fn status<R, E>(outcome: &Result<Response<R>, E>) -> Status {
    let Ok(response) = outcome else { return Status::Error };
    let grpc_failed = response.headers().get("grpc-status").is_some_and(|code| code != "0");
    if response.status().is_server_error() || grpc_failed { Status::Error } else { Status::Ok }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::task::Waker;

    use super::*;
    use crate::context::{current, current_labels};

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// Answers with the context it was called in.
    #[derive(Clone)]
    struct Echo;

    impl Service<Request<()>> for Echo {
        type Response = Response<Option<TraceContext>>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            ready(Ok(Response::new(current())))
        }
    }

    fn served_in(headers: &[&str]) -> TraceContext {
        let mut request = Request::builder().uri("/");
        for header in headers {
            request = request.header("traceparent", *header);
        }
        let mut response = Box::pin(tower_layer().layer(Echo).call(request.body(()).unwrap()));
        let Poll::Ready(Ok(response)) = response.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("the echo is always ready");
        };
        assert_eq!(current(), None, "the label ends with the poll");
        response.into_body().unwrap()
    }

    #[test]
    fn a_request_works_for_its_callers_trace() {
        let caller = TraceContext::parse_traceparent(TRACEPARENT).unwrap();
        let context = served_in(&[TRACEPARENT]);
        assert_eq!(context.trace_id, caller.trace_id);
        assert_ne!(context.span_id, caller.span_id);
    }

    #[test]
    fn a_request_without_one_valid_header_starts_a_trace() {
        let caller = TraceContext::parse_traceparent(TRACEPARENT).unwrap();
        for headers in [&[][..], &["garbage"], &[TRACEPARENT, TRACEPARENT]] {
            assert_ne!(served_in(headers).trace_id, caller.trace_id, "{headers:?}");
        }
    }

    #[test]
    fn failures_of_the_server_are_errors_and_those_of_the_client_are_not() {
        let answer = |code: u16| Ok::<_, ()>(Response::builder().status(code).body(()).unwrap());
        assert_eq!(status(&answer(200)), Status::Ok);
        assert_eq!(status(&answer(404)), Status::Ok);
        assert_eq!(status(&answer(503)), Status::Error);
        assert_eq!(status(&Err::<Response<()>, _>(())), Status::Error);
        let grpc = |code: &str| Ok::<_, ()>(Response::builder().header("grpc-status", code).body(()).unwrap());
        assert_eq!(status(&grpc("0")), Status::Ok);
        assert_eq!(status(&grpc("13")), Status::Error);
    }

    /// Answers with the labels it was called under.
    #[derive(Clone)]
    struct EchoLabels;

    impl Service<Request<()>> for EchoLabels {
        type Response = Response<Labels>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            ready(Ok(Response::new(current_labels())))
        }
    }

    #[test]
    fn a_request_is_labelled_with_its_route_and_what_else_the_service_wants() {
        let layer = tower_layer().label_by("tenant", |headers, _| headers.get("x-tenant")?.to_str().ok());
        let labels_of = |tenant: &str| {
            let request = Request::builder().uri("/orders/17").header("x-tenant", tenant).body(()).unwrap();
            let mut response = Box::pin(layer.layer(EchoLabels).call(request));
            let Poll::Ready(Ok(response)) = response.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
                panic!("the echo is always ready");
            };
            assert_eq!(current_labels(), Labels::NONE, "the labels end with the poll");
            response.into_body()
        };
        assert_eq!(labels_of("acme"), Labels::NONE, "nobody listens");
        spans::record(true);
        assert_eq!(labels_of("acme"), Labels::of("route", "GET /orders/{id}").with("tenant", "acme"));
        assert_eq!(labels_of(""), Labels::of("route", "GET /orders/{id}"));
        spans::record(false);
    }
}
