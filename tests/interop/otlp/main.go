// OpenTelemetry's own types and client: one export with three functions that share the CPU 60/30/10, by gRPC and by HTTP.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pprofile"
	"go.opentelemetry.io/collector/pdata/pprofile/pprofileotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func export(service string) pprofileotlp.ExportRequest {
	profiles := pprofile.NewProfiles()
	dictionary := profiles.Dictionary()
	text := func(text string) int32 {
		index, err := pprofile.SetString(dictionary.StringTable(), text)
		if err != nil {
			panic(err)
		}
		return index
	}
	text("")
	dictionary.MappingTable().AppendEmpty()
	dictionary.LocationTable().AppendEmpty()
	dictionary.FunctionTable().AppendEmpty()
	dictionary.StackTable().AppendEmpty()
	dictionary.LinkTable().AppendEmpty()
	dictionary.AttributeTable().AppendEmpty()
	location := func(name string) int32 {
		function := dictionary.FunctionTable().AppendEmpty()
		function.SetNameStrindex(text(name))
		location := dictionary.LocationTable().AppendEmpty()
		location.Lines().AppendEmpty().SetFunctionIndex(int32(dictionary.FunctionTable().Len() - 1))
		return int32(dictionary.LocationTable().Len() - 1)
	}
	link := dictionary.LinkTable().AppendEmpty()
	link.SetTraceID(pcommon.TraceID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	link.SetSpanID(pcommon.SpanID{1, 2, 3, 4, 5, 6, 7, 8})

	resource := profiles.ResourceProfiles().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", service)
	resource.Resource().Attributes().PutStr("zone", "eu-1")
	profile := resource.ScopeProfiles().AppendEmpty().Profiles().AppendEmpty()
	profile.SetTime(pcommon.NewTimestampFromTime(time.Now().Add(-10 * time.Second)))
	profile.SetDurationNano(10_000_000_000)
	profile.SampleType().SetTypeStrindex(text("samples"))
	profile.SampleType().SetUnitStrindex(text("count"))
	profile.PeriodType().SetTypeStrindex(text("cpu"))
	profile.PeriodType().SetUnitStrindex(text("nanoseconds"))
	profile.SetPeriod(10_000_000)
	main := location("main")
	for name, share := range map[string]int64{"sixty": 600, "thirty": 300, "ten": 100} {
		stack := dictionary.StackTable().AppendEmpty()
		stack.LocationIndices().Append(location(name), main)
		sample := profile.Samples().AppendEmpty()
		sample.SetStackIndex(int32(dictionary.StackTable().Len() - 1))
		sample.SetLinkIndex(1)
		sample.Values().Append(share * 4)
	}
	return pprofileotlp.NewExportRequestFromProfiles(profiles)
}

func main() {
	url := os.Args[1]
	connection, err := grpc.NewClient(strings.TrimPrefix(url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	client := pprofileotlp.NewGRPCClient(connection)
	answer, err := client.Export(context.Background(), export("interop.otlp-grpc"))
	if err != nil {
		panic(err)
	}
	fmt.Println("grpc:", answer.PartialSuccess().RejectedProfiles(), answer.PartialSuccess().ErrorMessage())

	protobuf, err := export("interop.otlp-http").MarshalProto()
	if err != nil {
		panic(err)
	}
	json, err := export("interop.otlp-json").MarshalJSON()
	if err != nil {
		panic(err)
	}
	for kind, body := range map[string][]byte{"application/x-protobuf": protobuf, "application/json": json} {
		response, err := http.Post(url+"/v1development/profiles", kind, bytes.NewReader(body))
		if err != nil {
			panic(err)
		}
		said, _ := io.ReadAll(response.Body)
		if response.StatusCode != http.StatusOK {
			panic(fmt.Sprint(kind, response.Status, string(said)))
		}
		fmt.Println(kind, response.Status)
	}
}
