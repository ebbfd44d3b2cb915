import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.BooleanSupplier;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.leader.Participant;
import org.apache.curator.retry.RetryOneTime;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.data.Stat;
import sun.misc.Signal;

/**
 * A candidate with Curator's LeaderLatch or LeaderSelector, used as documented; it records its terms
 * in the format of tests/support/recording.py.
 *
 * <p>Arguments: hosts, path, "latch" or "selector", id, file of the recording, session timeout in
 * milliseconds, and the nanoseconds that the boot clock is ahead of the monotonic clock.
 *
 * <p>SIGHUP: give up the leadership, or the place in the queue, and stand again. SIGTERM: leave.
 */
public final class CuratorCandidate {
  private static FileOutputStream lines;
  private static MappedByteBuffer beat;
  private static long ahead;
  private static CuratorFramework client;
  private static String path;
  private static String id;

  private static final CountDownLatch leaving = new CountDownLatch(1);
  private static final AtomicBoolean resigning = new AtomicBoolean();

  public static void main(String[] args) throws Exception {
    path = args[1];
    id = args[3];
    ahead = Long.parseLong(args[6]);
    openRecording(Path.of(args[4]));
    int session = Integer.parseInt(args[5]);
    client = CuratorFrameworkFactory.newClient(args[0], session, 10_000, new RetryOneTime(200));
    client.start();
    client.blockUntilConnected();
    Signal.handle(new Signal("TERM"), signal -> leaving.countDown());
    Signal.handle(new Signal("HUP"), signal -> resigning.set(true));
    note("\"session\": " + client.getZookeeperClient().getZooKeeper().getSessionId());
    note("\"event\": \"campaigning\"");
    if (args[2].equals("latch")) {
      withLatch();
    } else {
      withSelector();
    }
    note("\"event\": \"stopped\"");
    client.close();
  }

  private static void withLatch() throws Exception {
    while (leaving.getCount() > 0) {
      LeaderLatch latch = new LeaderLatch(client, path, id);
      latch.start();
      while (leaving.getCount() > 0 && !resigning.getAndSet(false)) {
        noteLeader(latch::getLeader);
        if (latch.hasLeadership()) {
          lead(ownToken(latch.getOurPath()), latch::hasLeadership);
        }
        leaving.await(10, TimeUnit.MILLISECONDS);
      }
      latch.close();
    }
  }

  private static void withSelector() throws Exception {
    LeaderSelector selector =
        new LeaderSelector(
            client,
            path,
            new LeaderSelectorListenerAdapter() {
              @Override
              public void takeLeadership(CuratorFramework framework) throws Exception {
                // LeaderSelectorListenerAdapter interrupts this thread when the connection is lost.
                Thread own = Thread.currentThread();
                lead(ownToken(null), () -> !own.isInterrupted());
                resigning.set(false);
                Thread.interrupted(); // or the release of the lock would fail
              }
            });
    selector.setId(id);
    selector.autoRequeue();
    selector.start();
    while (!leaving.await(10, TimeUnit.MILLISECONDS)) {
      noteLeader(selector::getLeader);
    }
    synchronized (CuratorCandidate.class) {
      selector.close(); // once `lead` has returned, which is called in another thread
    }
  }

  /** Record that this candidate leads, until it does not, or is asked to give up or to leave. */
  private static synchronized void lead(long token, BooleanSupplier leads) throws IOException {
    if (token == 0 || leaving.getCount() == 0 || !leads.getAsBoolean()) {
      return;
    }
    note("\"event\": \"elected\", \"token\": " + token);
    long at = now();
    note("\"interval_began\": " + token + ", \"until\": " + at, at);
    while (leaving.getCount() > 0 && !resigning.get()) {
      long before = now();
      if (!leads.getAsBoolean()) {
        break;
      }
      at = before;
      beat.putLong(0, token);
      beat.putLong(8, at);
      try {
        Thread.sleep(1);
      } catch (InterruptedException stopped) {
        Thread.currentThread().interrupt();
      }
    }
    note("\"interval_ended\": " + token, at);
    note("\"event\": \"resigned\"");
    if (leaving.getCount() > 0) {
      note("\"event\": \"campaigning\"");
    }
  }

  /** The id of the transaction that created the node of this candidate; 0 if it is gone. */
  private static long ownToken(String ownPath) throws Exception {
    if (ownPath != null) {
      Stat stat = client.checkExists().forPath(ownPath);
      return stat == null ? 0 : stat.getCzxid();
    }
    long session = client.getZookeeperClient().getZooKeeper().getSessionId();
    for (String name : client.getChildren().forPath(path)) {
      Stat stat = client.checkExists().forPath(path + "/" + name);
      if (stat != null && stat.getEphemeralOwner() == session) {
        return stat.getCzxid();
      }
    }
    return 0;
  }

  private static String lastLeader = "";

  /** Record the id of the leader that Curator reads, when it has changed. */
  private static void noteLeader(Callable<Participant> reader) throws Exception {
    try {
      String leader = reader.call().getId();
      if (!leader.equals(lastLeader)) {
        lastLeader = leader;
        note("\"leader\": \"" + leader + "\"");
      }
    } catch (KeeperException unavailable) {
      // The folder does not exist yet, or there is no connection.
    }
  }

  private static long now() {
    return System.nanoTime() + ahead;
  }

  private static void openRecording(Path file) throws IOException {
    lines = new FileOutputStream(file.toFile(), true); // no channel: an interrupt would close it
    String name = file.toString();
    Path beside = Path.of(name.substring(0, name.lastIndexOf('.')) + ".beat");
    Files.write(beside, new byte[16]);
    try (FileChannel channel =
        FileChannel.open(beside, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      beat = channel.map(FileChannel.MapMode.READ_WRITE, 0, 16);
      beat.order(ByteOrder.nativeOrder());
    }
  }

  private static void note(String said) throws IOException {
    note(said, now());
  }

  private static void note(String said, long at) throws IOException {
    String line = "{\"at\": " + at + ", " + said + "}\n";
    lines.write(line.getBytes(StandardCharsets.UTF_8)); // by one call of the system
  }
}
