// The functions of the HTTP benchmark on the Go SDK and net/http.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/apache/flink-statefun/statefun-sdk-go/v3/pkg/statefun"
)

var (
	seen   = statefun.ValueSpec{Name: "seen", ValueType: statefun.Int32Type}
	states = make([]statefun.ValueSpec, 10)
	relay  = statefun.TypeNameFrom("example/relay")
)

func send(ctx statefun.Context, id string, text string) error {
	target := statefun.Address{FunctionType: relay, Id: id}
	ctx.Send(statefun.MessageBuilder{Target: target, Value: text})
	return nil
}

func person(ctx statefun.Context, message statefun.Message) error {
	name := message.AsString()
	var count int32
	ctx.Storage().Get(seen, &count)
	count++
	ctx.Storage().Set(seen, count)
	return send(ctx, name, fmt.Sprintf("Hello %s, seen %d times", name, count))
}

func measure(ctx statefun.Context, message statefun.Message) error {
	return send(ctx, ctx.Self().Id, strconv.Itoa(len(message.AsString())))
}

func keep(ctx statefun.Context, message statefun.Message) error {
	values := make([]string, len(states))
	length := 0
	for i, spec := range states {
		ctx.Storage().Get(spec, &values[i])
		length += len(values[i])
	}
	ctx.Storage().Set(states[0], values[1])
	return send(ctx, message.AsString(), strconv.Itoa(length))
}

func wait(ctx statefun.Context, message statefun.Message) error {
	time.Sleep(50 * time.Millisecond)
	name := message.AsString()
	return send(ctx, name, name)
}

func main() {
	for i := range states {
		states[i] = statefun.ValueSpec{Name: fmt.Sprintf("s%c", 'a'+i), ValueType: statefun.StringType}
	}
	builder := statefun.StatefulFunctionsBuilder()
	for _, spec := range []statefun.StatefulFunctionSpec{
		{
			FunctionType: statefun.TypeNameFrom("example/person"),
			States:       []statefun.ValueSpec{seen},
			Function:     statefun.StatefulFunctionPointer(person),
		},
		{
			FunctionType: statefun.TypeNameFrom("example/measure"),
			Function:     statefun.StatefulFunctionPointer(measure),
		},
		{
			FunctionType: statefun.TypeNameFrom("example/keep"),
			States:       states,
			Function:     statefun.StatefulFunctionPointer(keep),
		},
		{
			FunctionType: statefun.TypeNameFrom("example/wait"),
			Function:     statefun.StatefulFunctionPointer(wait),
		},
	} {
		if err := builder.WithSpec(spec); err != nil {
			log.Fatal(err)
		}
	}
	http.Handle("/statefun", builder.AsHandler())
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
