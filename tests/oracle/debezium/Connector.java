import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.Json;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.Statement;
import java.util.HashSet;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/**
 * Debezium's SQL Server connector and Microsoft's JDBC driver, driven by lines of JSON on stdin. Every line is
 * answered by one line on stdout: {} or {"error": text}.
 *
 * <ul>
 *   <li>{"do": "start", "properties": {…}, "events": file}: starts the connector; its records are appended to
 *       the file, one JSON object {"key", "value"} a line.
 *   <li>{"do": "await", "event": name}: waits for the end of the "snapshot", or for the row of dbo.oracle_step
 *       whose number is the name.
 *   <li>{"do": "execute", "url": jdbc URL, "batches": [text, …]}: runs batches on one connection.
 *   <li>{"do": "stop"}: stops the connector and waits for its end.
 * </ul>
 */
public final class Connector {
    /** A connector that says nothing for so long is taken for dead. */
    private static final long PATIENCE_MILLIS = TimeUnit.MINUTES.toMillis(5);

    private static final ObjectMapper JSON = new ObjectMapper();

    private final ExecutorService thread = Executors.newSingleThreadExecutor();
    private final Set<String> seen = new HashSet<>();
    private DebeziumEngine<ChangeEvent<String, String>> engine;
    private BufferedWriter events;
    private boolean ended;
    private String failure;

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = System.out;
        // Whatever a library prints must not be taken for an answer.
        System.setOut(System.err);
        Connector connector = new Connector();
        BufferedReader commands =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                connector.obey(JSON.readTree(line));
            } catch (Exception error) {
                answer.put("error", described(error));
            }
            answers.println(JSON.writeValueAsString(answer));
            answers.flush();
        }
        connector.thread.shutdownNow();
        System.exit(0);
    }

    private void obey(JsonNode command) throws Exception {
        switch (command.get("do").asText()) {
            case "start" -> start(command.get("properties"), Path.of(command.get("events").asText()));
            case "await" -> await(command.get("event").asText());
            case "execute" -> execute(command.get("url").asText(), command.get("batches"));
            case "stop" -> stop();
            default -> throw new IllegalArgumentException("unknown command " + command);
        }
    }

    private void start(JsonNode given, Path file) throws IOException {
        Properties properties = new Properties();
        given.properties().forEach(entry -> properties.put(entry.getKey(), entry.getValue().asText()));
        BufferedWriter writer =
                Files.newBufferedWriter(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        synchronized (this) {
            seen.clear();
            ended = false;
            failure = null;
            events = writer;
        }
        engine =
                DebeziumEngine.create(Json.class)
                        .using(properties)
                        .using((success, message, error) -> ended(success, message, error))
                        .notifying((records, committer) -> {
                            for (ChangeEvent<String, String> record : records) {
                                received(record);
                                committer.markProcessed(record);
                            }
                            committer.markBatchFinished();
                        })
                        .build();
        thread.execute(engine);
    }

    private synchronized void ended(boolean success, String message, Throwable error) {
        ended = true;
        if (!success) {
            failure = error == null ? message : message + ": " + described(error);
        }
        notifyAll();
    }

    private synchronized void received(ChangeEvent<String, String> record) {
        try {
            ObjectNode line = JSON.createObjectNode();
            line.set("key", record.key() == null ? null : JSON.readTree(record.key()));
            JsonNode value = record.value() == null ? null : JSON.readTree(record.value());
            line.set("value", value);
            events.write(JSON.writeValueAsString(line));
            events.newLine();
            events.flush();
            JsonNode payload = value == null ? null : value.get("payload");
            if (payload != null) {
                note(payload);
            }
        } catch (IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }

    private void note(JsonNode payload) {
        JsonNode source = payload.path("source");
        if ("last".equals(source.path("snapshot").asText())) {
            seen.add("snapshot");
        }
        if ("oracle_step".equals(source.path("table").asText()) && payload.hasNonNull("after")) {
            seen.add(payload.at("/after/step").asText());
        }
        notifyAll();
    }

    private synchronized void await(String event) throws InterruptedException {
        long end = System.currentTimeMillis() + PATIENCE_MILLIS;
        while (!seen.contains(event)) {
            if (ended) {
                throw new IllegalStateException("the connector ended: " + failure);
            }
            long left = end - System.currentTimeMillis();
            if (left <= 0) {
                throw new IllegalStateException("the event has not arrived: " + event);
            }
            wait(left);
        }
    }

    private static void execute(String url, JsonNode batches) throws Exception {
        try (Connection connection = DriverManager.getConnection(url);
                Statement statement = connection.createStatement()) {
            for (JsonNode batch : batches) {
                boolean rows = statement.execute(batch.asText());
                while (rows || statement.getUpdateCount() != -1) {
                    rows = statement.getMoreResults();
                }
            }
        }
    }

    private void stop() throws Exception {
        engine.close();
        synchronized (this) {
            long end = System.currentTimeMillis() + PATIENCE_MILLIS;
            while (!ended) {
                long left = end - System.currentTimeMillis();
                if (left <= 0) {
                    throw new IllegalStateException("the connector does not end");
                }
                wait(left);
            }
            events.close();
            if (failure != null) {
                throw new IllegalStateException(failure);
            }
        }
    }

    private static String described(Throwable error) {
        StringBuilder text = new StringBuilder();
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            text.append(text.length() == 0 ? "" : " <- ").append(cause);
        }
        return text.toString();
    }
}
