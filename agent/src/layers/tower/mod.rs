//! Requests take their trace from the `traceparent` header, and their labels from what they ask for: a `tower` layer for axum,
//! tonic and hyper services.

mod methods;
mod route;

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Extensions, HeaderMap, Method, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use self::methods::Methods;
use crate::context::Guard;
use crate::labels::Labels;
use crate::requests::{self, OpenSpan, Status};
use crate::trace_context::TraceContext;
use crate::waits::Waits;

/// Labels the samples taken while a request is served with the request's trace and its `route`, and reports how long it took.
///
/// The trace comes from the `traceparent` header; a request without a valid one starts a new trace.
///
/// A route is the request's method and the name that your program has for the place, such as `GET /orders/{id}`: the one that the
/// framework matched ([`route_by`](TraceLayer::route_by)), a gRPC method, or one that you make of the path
/// ([`route_by_path`](TraceLayer::route_by_path)). Everything else is `GET {unmatched}`: paths hold names and secrets of people, and
/// neither they nor queries leave the process.
///
/// ```
/// use axum::extract::MatchedPath;
///
/// let layer = tephra_agent::tower_layer().route_by(|request| Some(request.get::<MatchedPath>()?.as_str()));
/// let app: axum::Router = axum::Router::new().layer(layer);
/// ```
pub fn tower_layer() -> TraceLayer {
    TraceLayer { route: |_| None, route_of_path: |_| None, labels: Arc::default(), methods: Arc::default() }
}

/// The layer that [`tower_layer()`] makes.
#[derive(Debug, Clone)]
pub struct TraceLayer {
    route: RouteOf,
    route_of_path: RouteOfPath,
    labels: Arc<[LabelOf]>,
    methods: Arc<Methods>,
}

/// Reads a request's route from what the framework left in its extensions.
type RouteOf = fn(&Extensions) -> Option<&str>;

/// Makes a route of a path.
type RouteOfPath = for<'a> fn(&'a str) -> Option<Cow<'a, str>>;

/// A label, and how its value is read from a request.
#[derive(Debug, Clone, Copy)]
struct LabelOf {
    name: &'static str,
    value: for<'a> fn(&'a HeaderMap, &'a Extensions) -> Option<&'a str>,
}

impl TraceLayer {
    /// Names routes the way the framework does, by what it left in a request's extensions. What `route` returns leaves the process, so
    /// it can also choose: a constant instead of what it finds is the route then.
    ///
    /// ```
    /// use axum::extract::MatchedPath;
    ///
    /// let layer = tephra_agent::tower_layer().route_by(|request| {
    ///     let path = request.get::<MatchedPath>()?.as_str();
    ///     Some(if path.starts_with("/internal/") { "/internal/{…}" } else { path })
    /// });
    /// let app: axum::Router = axum::Router::new().layer(layer);
    /// ```
    #[must_use]
    pub fn route_by(self, route: fn(&Extensions) -> Option<&str>) -> Self {
        Self { route, ..self }
    }

    /// Names the routes that [`route_by`](Self::route_by) does not, by their paths: for servers that leave nothing in the extensions.
    /// What `route` returns leaves the process, as it is: return a few names of your own, never what a client may have put into the path.
    ///
    /// ```
    /// let layer = tephra_agent::tower_layer().route_by_path(|path| match path.split('/').nth(1)? {
    ///     "health" => Some("/health".into()),
    ///     "users" => Some("/users/{user}".into()),
    ///     _ => None,
    /// });
    /// let app: axum::Router = axum::Router::new().layer(layer);
    /// ```
    #[must_use]
    pub fn route_by_path(self, route: for<'a> fn(&'a str) -> Option<Cow<'a, str>>) -> Self {
        Self { route_of_path: route, ..self }
    }

    /// The name that the program has for what is asked for, unless it is a gRPC method's that may yet turn out to be one.
    fn named<'a, B>(&self, request: &'a Request<B>, path: &'a str) -> Option<Cow<'a, str>> {
        let by_framework = (self.route)(request.extensions()).map(Cow::Borrowed);
        let by_grpc = || self.methods.know(path).then_some(Cow::Borrowed(path));
        by_framework.or_else(by_grpc).or_else(|| (self.route_of_path)(path))
    }

    /// Labels samples with something of the request, such as its tenant. Few values: see [`Labels`]. They leave the process, as they
    /// are: what must not, such as a person's name or a token, is no label.
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
        let (mut route, mut method) = (None, None);
        if requests::are_recorded() {
            let path = request.uri().path();
            let named = self.layer.named(&request, path);
            if named.is_none() && methods::may_be_one(request.headers(), path) {
                let (path, methods) = (path.into(), Arc::clone(&self.layer.methods));
                method = Some(Unknown { path, methods, http_method: request.method().clone() });
            }
            route = Some(route::name(request.method(), named.as_deref()));
        }
        let labels = route.as_ref().map_or(Labels::NONE, |route| {
            let read = |label: &LabelOf| Some((label.name, (label.value)(request.headers(), request.extensions())?));
            let others = self.layer.labels.iter().filter_map(read);
            others.fold(Labels::of("route", route), |labels, (name, value)| labels.with(name, value))
        });
        let span = OpenSpan::start(context, route);
        let _label = Guard::enter(Some(context), labels);
        let waits = Waits::of(Some(&context));
        TracedFuture { future: self.inner.call(request), context, labels, waits, span, method }
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
        waits: Waits,
        span: OpenSpan,
        method: Option<Unknown>,
    }
}

/// A call of what may be a gRPC method, which has not answered before.
#[derive(Debug)]
struct Unknown {
    path: Box<str>,
    methods: Arc<Methods>,
    http_method: Method,
}

impl Unknown {
    /// Its route, if the answer shows that there is such a method.
    fn route<R>(&self, answer: &Response<R>) -> Option<String> {
        let is_one = self.methods.answered(&self.path, answer.headers());
        is_one.then(|| route::name(&self.http_method, Some(&self.path)))
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
        let outcome = ready!(this.waits.poll(this.future, cx));
        if let (Some(method), Ok(answer)) = (this.method.take(), &outcome)
            && let Some(route) = method.route(answer)
        {
            this.span.rename(route);
        }
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
    use std::collections::HashSet;
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::sync::{Mutex, PoisonError};
    use std::task::Waker;

    use super::*;
    use crate::clock::Slot;
    use crate::context::{current, current_labels};
    use crate::requests::{Reader, Selected};

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

    /// The labels that a request for `uri` is served under.
    fn labels_of(layer: &TraceLayer, uri: &str, headers: &[(&str, &str)]) -> Labels {
        let request =
            headers.iter().fold(Request::builder().uri(uri), |request, (name, value)| request.header(*name, *value));
        let mut response = Box::pin(layer.layer(EchoLabels).call(request.body(()).unwrap()));
        let Poll::Ready(Ok(response)) = response.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("the echo is always ready");
        };
        assert_eq!(current_labels(), Labels::NONE, "the labels end with the poll");
        response.into_body()
    }

    /// Recording is the process's, so those who turn it on take turns.
    fn while_recorded(test: impl FnOnce()) -> Vec<Selected> {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        requests::record(true);
        test();
        let reported = Reader::default().take(Slot::at(0, 1), 0);
        requests::record(false);
        reported.spans
    }

    #[test]
    fn a_request_is_labelled_with_its_route_and_what_else_the_service_wants() {
        let layer = tower_layer()
            .route_by_path(|path| path.starts_with("/orders/").then_some("/orders/{id}".into()))
            .label_by("tenant", |headers, _| headers.get("x-tenant")?.to_str().ok());
        let of = |tenant: &str| labels_of(&layer, "/orders/17", &[("x-tenant", tenant)]);
        while_recorded(|| {
            assert_eq!(of("acme"), Labels::of("route", "GET /orders/{id}").with("tenant", "acme"));
            assert_eq!(of(""), Labels::of("route", "GET /orders/{id}"));
        });
    }

    #[test]
    fn nothing_of_a_path_or_query_leaves_in_a_route_unless_the_program_named_it() {
        let layer = tower_layer().route_by(|request| request.get::<&str>().copied());
        let spans = while_recorded(|| {
            for uri in [
                "/users/alice@example.com/orders",
                "/reset/abcdefabcdefabcdef",
                "/search?q=alice",
                "/?token=abcdef",
                "/tephra.v1.ProfileService/Push",
                "http://alice:secret@shop/checkout",
            ] {
                assert_eq!(labels_of(&layer, uri, &[]), Labels::of("route", "GET {unmatched}"), "{uri}");
            }
        });
        let routes: HashSet<&str> = spans.iter().map(|span| &*span.route).collect();
        assert!(routes.contains("GET {unmatched}"), "{routes:?}");
        assert!(
            routes.iter().all(|route| !["alice", "abcdef", "reset", "checkout"].iter().any(|s| route.contains(s))),
            "{routes:?}"
        );
    }

    #[test]
    fn the_frameworks_name_comes_first_and_the_paths_last() {
        let layer =
            tower_layer().route_by(|request| request.get::<&str>().copied()).route_by_path(|_| Some("/by-path".into()));
        let named = |extension: Option<&'static str>| {
            let mut request = Request::builder().uri("/x");
            if let Some(extension) = extension {
                request = request.extension(extension);
            }
            let request = request.body(()).unwrap();
            layer.named(&request, "/x").map(Cow::into_owned)
        };
        assert_eq!(named(Some("/{id}")).as_deref(), Some("/{id}"));
        assert_eq!(named(None).as_deref(), Some("/by-path"));
    }

    #[test]
    fn a_grpc_method_is_a_route_once_it_has_answered() {
        const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc")];
        let layer = tower_layer();
        let (method, other) = ("/tephra.v1.ProfileService/Push", "/alice.smith/abcdef");
        let spans = while_recorded(|| {
            let unmatched = Labels::of("route", "GET {unmatched}");
            assert_eq!(labels_of(&layer, method, GRPC), unmatched, "nobody knows yet");
            assert_eq!(labels_of(&layer, method, GRPC), Labels::of("route", &format!("GET {method}")));
            assert_eq!(labels_of(&layer, "/alice@example.com/x", GRPC), unmatched);
            let refused = Request::builder().uri(other).header("content-type", "application/grpc").body(()).unwrap();
            let mut response = Box::pin(layer.layer(Unimplemented).call(refused));
            assert!(response.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
            assert!(!layer.methods.know(other));
        });
        let of = |route: &str| spans.iter().filter(|span| &*span.route == route).count();
        assert_eq!(of(&format!("GET {method}")), 2, "{spans:?}");
        assert_eq!(of(&format!("GET {other}")), 0, "{spans:?}");
    }

    /// Has no methods.
    #[derive(Clone)]
    struct Unimplemented;

    impl Service<Request<()>> for Unimplemented {
        type Response = Response<()>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            ready(Ok(Response::builder().header("grpc-status", "12").body(()).unwrap()))
        }
    }
}
