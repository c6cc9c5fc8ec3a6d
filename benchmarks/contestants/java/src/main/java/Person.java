import io.undertow.Undertow;
import io.undertow.util.Headers;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.apache.flink.statefun.sdk.java.Context;
import org.apache.flink.statefun.sdk.java.StatefulFunction;
import org.apache.flink.statefun.sdk.java.StatefulFunctionSpec;
import org.apache.flink.statefun.sdk.java.StatefulFunctions;
import org.apache.flink.statefun.sdk.java.TypeName;
import org.apache.flink.statefun.sdk.java.ValueSpec;
import org.apache.flink.statefun.sdk.java.handler.RequestReplyHandler;
import org.apache.flink.statefun.sdk.java.message.Message;
import org.apache.flink.statefun.sdk.java.message.MessageBuilder;
import org.apache.flink.statefun.sdk.java.slice.Slices;

/** The functions of the HTTP benchmark on the Java SDK and Undertow. */
public final class Person {
  private static final TypeName RELAY = TypeName.typeNameFromString("example/relay");
  private static final ValueSpec<Integer> SEEN = ValueSpec.named("seen").withIntType();
  private static final ValueSpec<?>[] STATES = new ValueSpec<?>[10];
  private static final ScheduledExecutorService TIMER = Executors.newScheduledThreadPool(1);

  private static void send(Context context, String id, String text) {
    context.send(MessageBuilder.forAddress(RELAY, id).withValue(text).build());
  }

  private static CompletableFuture<Void> person(Context context, Message message) {
    String name = message.asUtf8String();
    int seen = context.storage().get(SEEN).orElse(0) + 1;
    context.storage().set(SEEN, seen);
    send(context, name, "Hello " + name + ", seen " + seen + " times");
    return context.done();
  }

  private static CompletableFuture<Void> measure(Context context, Message message) {
    send(context, context.self().id(), String.valueOf(message.asUtf8String().length()));
    return context.done();
  }

  @SuppressWarnings("unchecked")
  private static CompletableFuture<Void> keep(Context context, Message message) {
    int length = 0;
    String second = "";
    for (int i = 0; i < STATES.length; i++) {
      String value = (String) context.storage().get(STATES[i]).orElseThrow();
      length += value.length();
      if (i == 1) {
        second = value;
      }
    }
    context.storage().set((ValueSpec<String>) STATES[0], second);
    send(context, message.asUtf8String(), String.valueOf(length));
    return context.done();
  }

  private static CompletableFuture<Void> wait(Context context, Message message) {
    CompletableFuture<Void> done = new CompletableFuture<>();
    TIMER.schedule(
        () -> {
          send(context, message.asUtf8String(), message.asUtf8String());
          done.complete(null);
        },
        50,
        TimeUnit.MILLISECONDS);
    return done;
  }

  private static StatefulFunctionSpec spec(
      String typename, StatefulFunction function, ValueSpec<?>... states) {
    return StatefulFunctionSpec.builder(TypeName.typeNameFromString(typename))
        .withValueSpecs(states)
        .withSupplier(() -> function)
        .build();
  }

  public static void main(String[] arguments) {
    for (int i = 0; i < STATES.length; i++) {
      STATES[i] = ValueSpec.named("s" + (char) ('a' + i)).withUtf8StringType();
    }
    RequestReplyHandler handler =
        new StatefulFunctions()
            .withStatefulFunction(spec("example/person", Person::person, SEEN))
            .withStatefulFunction(spec("example/measure", Person::measure))
            .withStatefulFunction(spec("example/keep", Person::keep, STATES))
            .withStatefulFunction(spec("example/wait", Person::wait))
            .requestReplyHandler();
    Undertow.builder()
        .addHttpListener(Integer.parseInt(arguments[0]), "127.0.0.1")
        .setHandler(
            exchange ->
                exchange
                    .getRequestReceiver()
                    .receiveFullBytes(
                        (received, body) -> {
                          received.dispatch(
                              Runnable::run,
                              () ->
                                  handler
                                      .handle(Slices.wrap(body))
                                      .whenComplete(
                                          (answer, failure) -> {
                                            if (failure != null) {
                                              received.setStatusCode(500).endExchange();
                                              return;
                                            }
                                            received
                                                .getResponseHeaders()
                                                .put(
                                                    Headers.CONTENT_TYPE,
                                                    "application/octet-stream");
                                            received
                                                .getResponseSender()
                                                .send(answer.asReadOnlyByteBuffer());
                                          }));
                        }))
        .build()
        .start();
  }
}
