// A Go service with pyroscope-go inside: three functions share the CPU 60/30/10.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/pprof"
	"time"

	"github.com/grafana/pyroscope-go"
)

//go:noinline
func spin(units int) (sum uint64) {
	for i := 0; i < units*20_000; i++ {
		sum = sum*6364136223846793005 + 1442695040888963407
	}
	return sum
}

//go:noinline
func sixty() uint64 { return spin(60) + 1 }

//go:noinline
func thirty() uint64 { return spin(30) + 2 }

//go:noinline
func ten() uint64 { return spin(10) + 3 }

func main() {
	seconds, err := time.ParseDuration(os.Args[2] + "s")
	if err != nil {
		panic(err)
	}
	profiler, err := pyroscope.Start(pyroscope.Config{
		ApplicationName: "interop.go",
		ServerAddress:   os.Args[1],
		Tags:            map[string]string{"zone": "eu-1"},
		UploadRate:      5 * time.Second,
		Logger:          nil,
		ProfileTypes: []pyroscope.ProfileType{
			pyroscope.ProfileCPU, pyroscope.ProfileAllocObjects, pyroscope.ProfileAllocSpace,
			pyroscope.ProfileInuseObjects, pyroscope.ProfileInuseSpace, pyroscope.ProfileGoroutines,
			pyroscope.ProfileMutexCount, pyroscope.ProfileMutexDuration,
		},
	})
	if err != nil {
		panic(err)
	}
	var sum uint64
	pprof.Do(context.Background(), pprof.Labels("route", "/spin"), func(context.Context) {
		for until := time.Now().Add(seconds); time.Now().Before(until); {
			sum += sixty() + thirty() + ten()
		}
	})
	profiler.Flush(true)
	profiler.Stop()
	fmt.Println(sum)
}
