// The virtual machine's own memory is what the allocator sees: the compiler (this runs from
// source), class data, threads, direct buffers and compression.
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

public class Threads {
    static long work(int seed) throws Exception {
        TreeMap<String, Integer> map = new TreeMap<>();
        for (int i = 0; i < 40000; i++)
            map.merge("key" + (i * 7919L + seed) % 3001, i, Integer::sum);
        byte[] text = map.toString().getBytes("UTF-8");
        Deflater deflater = new Deflater();
        deflater.setInput(text);
        deflater.finish();
        byte[] packed = new byte[text.length + 100];
        int length = deflater.deflate(packed);
        deflater.end();
        Inflater inflater = new Inflater();
        inflater.setInput(packed, 0, length);
        byte[] unpacked = new byte[text.length];
        if (inflater.inflate(unpacked) != text.length)
            throw new IllegalStateException();
        inflater.end();
        CRC32 crc = new CRC32();
        crc.update(unpacked);
        for (int i = 0; i < 50; i++) {
            ByteBuffer buffer = ByteBuffer.allocateDirect(i * 3000 + 1);
            buffer.put(i, (byte) seed);
            crc.update(buffer);
        }
        return crc.getValue();
    }

    public static void main(String[] arguments) throws Exception {
        ExecutorService executor = Executors.newFixedThreadPool(8);
        List<Future<Long>> futures = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            final int seed = i;
            futures.add(executor.submit(() -> work(seed)));
        }
        for (Future<Long> future : futures)
            System.out.println(future.get());
        executor.shutdown();
        for (int i = 0; i < 300; i++) {
            Thread thread = new Thread(() -> ByteBuffer.allocateDirect(1000));
            thread.start();
            thread.join();
        }
        System.out.println("300 threads");
    }
}
