// The greeter on the Go SDK and net/http; prints the port that it got.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/apache/flink-statefun/statefun-sdk-go/v3/pkg/statefun"
)

var (
	seen   = statefun.ValueSpec{Name: "seen", ValueType: statefun.Int32Type}
	relay  = statefun.TypeNameFrom("example/relay")
	greets = statefun.TypeNameFrom("example/greets")
)

func greet(ctx statefun.Context, message statefun.Message) error {
	name := message.AsString()
	var count int32
	ctx.Storage().Get(seen, &count)
	count++
	ctx.Storage().Set(seen, count)
	ctx.Send(statefun.MessageBuilder{
		Target: statefun.Address{FunctionType: relay, Id: name},
		Value:  fmt.Sprintf("Hello %s, seen %d times", name, count),
	})
	return nil
}

func tell(ctx statefun.Context, message statefun.Message) error {
	ctx.SendEgress(&statefun.KafkaEgressBuilder{
		Target: greets,
		Topic:  "greetings",
		Key:    ctx.Self().Id,
		Value:  message.AsString(),
	})
	return nil
}

func main() {
	builder := statefun.StatefulFunctionsBuilder()
	for _, spec := range []statefun.StatefulFunctionSpec{
		{
			FunctionType: statefun.TypeNameFrom("example/greeter"),
			States:       []statefun.ValueSpec{seen},
			Function:     statefun.StatefulFunctionPointer(greet),
		},
		{FunctionType: relay, Function: statefun.StatefulFunctionPointer(tell)},
	} {
		if err := builder.WithSpec(spec); err != nil {
			log.Fatal(err)
		}
	}
	http.Handle("/statefun", builder.AsHandler())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(listener, nil))
}
