// A Go service with pyroscope-go inside: three functions share the CPU 60/30/10.
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/grafana/pyroscope-go"
)

//go:noinline
func spin(units int) (sum uint64) {
	for i := 0; i < units*240_000; i++ {
		sum = sum*6364136223846793005 + 1442695040888963407
	}
	return sum
}

//go:noinline
func sixty(length int) uint64 { return spin(60*length) + 1 }

//go:noinline
func thirty(length int) uint64 { return spin(30*length) + 2 }

//go:noinline
func ten(length int) uint64 { return spin(10*length) + 3 }

// used is the CPU time of this process: a busy machine makes it wait longer, and nothing else.
func used() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano())
}

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
		for used() < seconds {
			// Rounds of many samples, so that few are left to chance; of one length they would keep step with a profiler's clock.
			length := 1 + rand.IntN(9)
			sum += sixty(length) + thirty(length) + ten(length)
		}
	})
	profiler.Flush(true)
	profiler.Stop()
	fmt.Println(sum)
}
