import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

class Pages {
    public static void main(String[] args) throws Exception {
        // It reads no variable of any proxy: it is sent to the source's base URL at the gateway.
        var gateway = System.getenv("ADCE_GATEWAY") + "/up/";
        var client = HttpClient.newHttpClient();
        var pages = IntStream.range(0, Integer.parseInt(args[1]))
            .mapToObj(number -> HttpRequest.newBuilder(URI.create(gateway + number)).build())
            .map(request -> client.sendAsync(request, HttpResponse.BodyHandlers.ofString()))
            .collect(Collectors.toList());
        var texts = new StringBuilder();
        for (var page : pages) {
            if (page.get().statusCode() != 200) throw new IllegalStateException("answered " + page.get().statusCode());
            texts.append(page.get().body());
        }
        Files.writeString(Path.of(args[2]), texts);
    }
}
