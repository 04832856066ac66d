// Asks a running collector what Grafana's Pyroscope data source asks, by the very clients that it is made with, and prints what they
// understood as JSON. Whatever they do not understand ends it with status 1.
//
//	go run . -url http://127.0.0.1:4040 -selector '{service_name="shop"}'
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"connectrpc.com/connect"
	querierv1 "github.com/grafana/pyroscope/api/gen/proto/go/querier/v1"
	"github.com/grafana/pyroscope/api/gen/proto/go/querier/v1/querierv1connect"
	typesv1 "github.com/grafana/pyroscope/api/gen/proto/go/types/v1"
)

// answer is what one protocol's client understood.
type answer struct {
	ProfileTypes []string            `json:"profile_types"`
	Services     map[string][]string `json:"services"`
	Labels       []string            `json:"labels"`
	Total        int64               `json:"total"`
	Functions    map[string]int64    `json:"functions"`
	SeriesSum    float64             `json:"series_sum"`
	SeriesPoints int                 `json:"series_points"`
	ProfileTotal int64               `json:"profile_total"`
	DiffTotal    int64               `json:"diff_total"`
	Unavailable  string              `json:"heatmap"`
}

func main() {
	url := flag.String("url", "http://127.0.0.1:4040", "address of the collector")
	selector := flag.String("selector", "{}", "label selector")
	profileType := flag.String("type", "process_cpu:cpu:nanoseconds:cpu:nanoseconds", "profile type")
	last := flag.Duration("last", 24*time.Hour, "range, up to now")
	token := flag.String("token", "", "token, where the collector asks for one")
	flag.Parse()
	end := time.Now()
	question := question{
		selector: *selector, profileType: *profileType, start: end.Add(-*last).UnixMilli(), end: end.UnixMilli(),
	}
	protocols := map[string][]connect.ClientOption{
		"connect":      nil,
		"connect_json": {connect.WithProtoJSON()},
		"grpc":         {connect.WithGRPC()},
	}
	answers := map[string]answer{}
	for name, options := range protocols {
		// gRPC is spoken over HTTP/2 without TLS.
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(name != "grpc")
		transport.Protocols.SetUnencryptedHTTP2(name == "grpc")
		client := &http.Client{Transport: bearer{*token, transport}, Timeout: time.Minute}
		found, err := question.ask(querierv1connect.NewQuerierServiceClient(client, *url, options...))
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
		answers[name] = found
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	if err := out.Encode(answers); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// bearer sends a token with every request.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	if b.token != "" {
		request = request.Clone(request.Context())
		request.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(request)
}

type question struct {
	selector, profileType string
	start, end            int64
}

func (q question) stacktraces() *querierv1.SelectMergeStacktracesRequest {
	return &querierv1.SelectMergeStacktracesRequest{
		ProfileTypeID: q.profileType, LabelSelector: q.selector, Start: q.start, End: q.end,
	}
}

func (q question) ask(client querierv1connect.QuerierServiceClient) (answer, error) {
	ctx := context.Background()
	found := answer{Services: map[string][]string{}}
	// As the data source's health check does it: without a range.
	types, err := client.ProfileTypes(ctx, connect.NewRequest(&querierv1.ProfileTypesRequest{}))
	if err != nil {
		return found, fmt.Errorf("ProfileTypes: %w", err)
	}
	for _, t := range types.Msg.ProfileTypes {
		found.ProfileTypes = append(found.ProfileTypes, t.ID)
	}
	series, err := client.Series(ctx, connect.NewRequest(&querierv1.SeriesRequest{
		LabelNames: []string{"service_name", "__profile_type__"}, Start: q.start, End: q.end,
	}))
	if err != nil {
		return found, fmt.Errorf("Series: %w", err)
	}
	for _, set := range series.Msg.LabelsSet {
		named := map[string]string{}
		for _, label := range set.Labels {
			named[label.Name] = label.Value
		}
		service := named["service_name"]
		found.Services[service] = append(found.Services[service], named["__profile_type__"])
	}
	labels, err := client.LabelNames(ctx, connect.NewRequest(&typesv1.LabelNamesRequest{
		Matchers: []string{q.selector}, Start: q.start, End: q.end,
	}))
	if err != nil {
		return found, fmt.Errorf("LabelNames: %w", err)
	}
	found.Labels = labels.Msg.Names
	stacktraces, err := client.SelectMergeStacktraces(ctx, connect.NewRequest(q.stacktraces()))
	if err != nil {
		return found, fmt.Errorf("SelectMergeStacktraces: %w", err)
	}
	graph := stacktraces.Msg.Flamegraph
	found.Total, found.Functions = graph.Total, map[string]int64{}
	for _, level := range graph.Levels {
		for i := 0; i+3 < len(level.Values); i += 4 {
			found.Functions[graph.Names[level.Values[i+3]]] += level.Values[i+1]
		}
	}
	lines, err := client.SelectSeries(ctx, connect.NewRequest(&querierv1.SelectSeriesRequest{
		ProfileTypeID: q.profileType, LabelSelector: q.selector, Start: q.start, End: q.end, Step: 60,
		GroupBy: []string{"service_name"},
	}))
	if err != nil {
		return found, fmt.Errorf("SelectSeries: %w", err)
	}
	for _, line := range lines.Msg.Series {
		for _, point := range line.Points {
			found.SeriesSum += point.Value
			found.SeriesPoints++
		}
	}
	profile, err := client.SelectMergeProfile(ctx, connect.NewRequest(&querierv1.SelectMergeProfileRequest{
		ProfileTypeID: q.profileType, LabelSelector: q.selector, Start: q.start, End: q.end,
	}))
	if err != nil {
		return found, fmt.Errorf("SelectMergeProfile: %w", err)
	}
	for _, sample := range profile.Msg.Sample {
		found.ProfileTotal += sample.Value[0]
	}
	diff, err := client.Diff(ctx, connect.NewRequest(&querierv1.DiffRequest{
		Left: q.stacktraces(), Right: q.stacktraces(),
	}))
	if err != nil {
		return found, fmt.Errorf("Diff: %w", err)
	}
	found.DiffTotal = diff.Msg.Flamegraph.LeftTicks
	// What is not there must be said to be missing: Grafana does without it then.
	_, err = client.SelectHeatmap(ctx, connect.NewRequest(&querierv1.SelectHeatmapRequest{ProfileTypeID: q.profileType}))
	if code := connect.CodeOf(err); code != connect.CodeUnimplemented {
		return found, fmt.Errorf("SelectHeatmap is %v and not unimplemented: %w", code, err)
	}
	found.Unavailable = connect.CodeUnimplemented.String()
	return found, nil
}
