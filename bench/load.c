/* Origin and load generator for the benchmarks: one process, one thread, epoll, loopback only, no library.
 *
 *   load origin                    prints {"port": N}, serves until it is killed
 *   load echo PORT CONNS SECONDS   CONNS connections, 64-byte messages, one in flight on each
 *   load upgrade PORT CONNS SECONDS  connect, upgrade, close handshake, over and over, CONNS at a time
 *   load bulk PORT MB              one download of MB million bytes in frames of 64 KiB
 *   load idle PORT CONNS           opens CONNS connections, one message on each, and holds them
 *   load awake                     keeps its core from sleeping and yields to everything else; serves until it is killed
 *
 * A load mode warms up, prints {"ready": true} and waits for a line on stdin, so that the caller can read the
 * proxy's CPU time first; then it measures and prints one line of JSON. The origin echoes, answers the path
 * /bulk?mb=N with a download and /close with a close frame 1000. It reads frames of up to 125 bytes only.
 * Everything that arrives is compared with what must arrive: a proxy that loses a byte ends the run.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 64, BULK_PAYLOAD = 65536, BULK_FRAME = BULK_PAYLOAD + 10, BUFFER = 4096, EVENTS = 256 };
enum { LINGER_SECONDS = 30, MAX_CONNS = 10000, MAX_SECONDS = 120, MAX_MB = 4000, MAX_SAMPLES = 16 << 20 };
enum { OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

enum state { FREE, CONNECTING, HEAD, OPEN, CLOSING };

struct conn {
    int fd;
    enum state state;
    size_t have;                /* bytes of an unfinished head or frame */
    size_t bulk_left;           /* origin: bytes of a download still to send */
    uint64_t sent_at;           /* load: when the message in flight left, ns */
    char accept[29];            /* load: the Sec-WebSocket-Accept that must come back */
    unsigned char in[BUFFER];
};

static const unsigned char CLOSE_1000[4] = {0x80 | OP_CLOSE, 2, 0x03, 0xe8};
static const char *mode = "load";

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", mode);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- RFC 6455, 4.2.2: the accept value is base64(SHA-1(key + GUID)) ---- */

static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void sha1_block(uint32_t h[5], const unsigned char *block) {
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f, k;
        if (i < 20) f = (b & c) | (~b & d), k = 0x5a827999;
        else if (i < 40) f = b ^ c ^ d, k = 0x6ed9eba1;
        else if (i < 60) f = (b & c) | (b & d) | (c & d), k = 0x8f1bbcdc;
        else f = b ^ c ^ d, k = 0xca62c1d6;
        uint32_t next = rotate(a, 5) + f + e + k + w[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

static void base64(const unsigned char *bytes, size_t n, const char *last_two, char *out) {
    char alphabet[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    memcpy(alphabet + 62, last_two, 2);
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)bytes[i] << 16 | (i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0) | (i + 2 < n ? bytes[i + 2] : 0);
        *out++ = alphabet[v >> 18];
        *out++ = alphabet[v >> 12 & 63];
        *out++ = i + 1 < n ? alphabet[v >> 6 & 63] : '=';
        *out++ = i + 2 < n ? alphabet[v & 63] : '=';
    }
    *out = 0;
}

static void accept_for(const char key[24], char accept[29]) {
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char padded[128] = {0}, digest[20];
    const size_t length = 24 + 36;      /* 60 bytes and the padding take two blocks */
    memcpy(padded, key, 24);
    memcpy(padded + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    padded[length] = 0x80;
    padded[126] = (unsigned char)(length * 8 >> 8);
    padded[127] = (unsigned char)(length * 8);
    sha1_block(h, padded);
    sha1_block(h, padded + 64);
    for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
    base64(digest, sizeof digest, "+/", accept);
}

static int watch(void) {
    int poll = epoll_create1(EPOLL_CLOEXEC);
    if (poll < 0) die("epoll_create1: %s", strerror(errno));
    return poll;
}

static void interest(int poll, int op, struct conn *c, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(poll, op, c->fd, &e) < 0) die("epoll_ctl: %s", strerror(errno));
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return a;
}

/* ---- origin ---- */

static unsigned char bulk_frame[BULK_FRAME] = {0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0};

static void hang_up(struct conn *c) {
    close(c->fd);
    free(c);
}

/* A message of at most 127 bytes always fits an empty socket buffer; where it does not, the peer reads nothing. */
static int put(int fd, const void *bytes, size_t n) { return send(fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n; }

static int continue_bulk(int poll, struct conn *c) {
    while (c->bulk_left) {      /* a download is a whole number of frames */
        size_t at = (BULK_FRAME - c->bulk_left % BULK_FRAME) % BULK_FRAME, n = BULK_FRAME - at;
        ssize_t sent = send(c->fd, bulk_frame + at, n < c->bulk_left ? n : c->bulk_left, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) return interest(poll, EPOLL_CTL_MOD, c, EPOLLIN | EPOLLOUT), 1;
        if (sent < 0) return 0;
        c->bulk_left -= (size_t)sent;
    }
    interest(poll, EPOLL_CTL_MOD, c, EPOLLIN);
    return 1;
}

static size_t bulk_bytes(long mb) { return ((size_t)mb * 1000000 + BULK_PAYLOAD - 1) / BULK_PAYLOAD * BULK_FRAME; }

static int answer_upgrade(int poll, struct conn *c) {
    static const char *name = "\r\nSec-WebSocket-Key:";
    char *head = (char *)c->in, *key = strcasestr(head, name), accept[29], answer[256];
    if (!key) return 0;
    key += strlen(name);
    key += strspn(key, " ");
    if (strcspn(key, "\r") != 24) return 0;
    accept_for(key, accept);
    int n = snprintf(answer, sizeof answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
    if (!put(c->fd, answer, (size_t)n)) return 0;
    c->state = OPEN;
    c->have = 0;
    if (!strncmp(head, "GET /close ", 11)) return c->state = CLOSING, put(c->fd, CLOSE_1000, sizeof CLOSE_1000);
    long mb = strncmp(head, "GET /bulk?mb=", 13) ? 0 : strtol(head + 13, NULL, 10);
    if (mb < 0 || mb > MAX_MB) return 0;
    c->bulk_left = bulk_bytes(mb);
    return continue_bulk(poll, c);
}

/* Answers the frames that are complete; 0 when the connection is over. RFC 6455, 5.2: client frames are masked. */
static int answer_frames(struct conn *c) {
    size_t at = 0;
    while (c->have - at >= 6) {
        unsigned char *f = c->in + at, opcode = f[0] & 15;
        size_t length = f[1] & 127;
        if (!(f[1] & 128) || length > 125) return 0;
        if (c->have - at < 6 + length) break;
        if (opcode == OP_CLOSE && c->state == CLOSING) return 0;
        unsigned char reply[127] = {(unsigned char)(0x80 | (opcode == OP_PING ? OP_PONG : opcode)), (unsigned char)length};
        for (size_t i = 0; i < length; i++) reply[2 + i] = f[6 + i] ^ f[2 + i % 4];
        if (opcode != OP_PONG && !put(c->fd, reply, 2 + length)) return 0;
        if (opcode == OP_CLOSE) return 0;
        at += 6 + length;
    }
    memmove(c->in, c->in + at, c->have - at);
    c->have -= at;
    return 1;
}

static int serve(int poll, struct conn *c, uint32_t events) {
    if (c->bulk_left && events & EPOLLOUT && !continue_bulk(poll, c)) return 0;
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return 1;
    ssize_t got = recv(c->fd, c->in + c->have, BUFFER - 1 - c->have, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    c->have += (size_t)got;
    if (c->state != HEAD) return answer_frames(c);
    c->in[c->have] = 0;
    return strstr((char *)c->in, "\r\n\r\n") ? answer_upgrade(poll, c) : c->have < BUFFER - 1;
}

static void origin(void) {
    static struct conn listener = {.fd = -1};
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    struct epoll_event events[EVENTS];
    int poll = watch(), on = 1;
    listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener.fd, (struct sockaddr *)&address, size) < 0 || listen(listener.fd, 4096) < 0) die("listen: %s", strerror(errno));
    getsockname(listener.fd, (struct sockaddr *)&address, &size);
    interest(poll, EPOLL_CTL_ADD, &listener, EPOLLIN);
    printf("{\"port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (c != &listener) {
                if (!serve(poll, c, events[i].events)) hang_up(c);
                continue;
            }
            int fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0) continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            c = calloc(1, sizeof *c);
            if (!c) die("out of memory");
            c->fd = fd;
            c->state = HEAD;
            interest(poll, EPOLL_CTL_ADD, c, EPOLLIN);
        }
    }
}

/* ---- load ---- */

static struct sockaddr_in target;

/* The head that a client with a token sends: key and token differ on every connection. */
static size_t upgrade_head(const char *path, char accept[29], char *out, size_t size) {
    static const char *header = "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"bench-1\"}";
    static const char *claims = "{\"iss\":\"https://issuer.example\",\"aud\":\"bench\",\"sub\":\"load\",\"exp\":4102444800,\"scope\":\"read\"}";
    unsigned char random[48];
    char key[25], one[64], two[160], three[64];
    if (getrandom(random, sizeof random, 0) != sizeof random) die("getrandom: %s", strerror(errno));
    base64(random, 16, "+/", key);
    accept_for(key, accept);
    base64((const unsigned char *)header, strlen(header), "-_", one);
    base64((const unsigned char *)claims, strlen(claims), "-_", two);
    base64(random + 16, 32, "-_", three);
    one[strcspn(one, "=")] = two[strcspn(two, "=")] = three[strcspn(three, "=")] = 0;
    int n = snprintf(out, size, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: bench\r\nOrigin: http://app.example\r\n"
                     "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"
                     "Authorization: Bearer %s.%s.%s\r\n\r\n", path, ntohs(target.sin_port), key, one, two, three);
    return (size_t)n;
}

static void send_head(struct conn *c, const char *path) {
    char head[1024];
    if (!put(c->fd, head, upgrade_head(path, c->accept, head, sizeof head))) die("sending the head: %s", strerror(errno));
    c->have = 0;
}

/* The length of the response head once it is complete, 0 before; what follows it stays in the buffer. */
static size_t upgraded(struct conn *c) {
    c->in[c->have] = 0;
    char *end = strstr((char *)c->in, "\r\n\r\n");
    if (!end && c->have < BUFFER - 1) return 0;
    if (!end || strncmp((char *)c->in, "HTTP/1.1 101 ", 13)) die("not upgraded: %.40s", (char *)c->in);
    if (!memmem(c->in, (size_t)(end - (char *)c->in), c->accept, 28)) die("the answer lacks Sec-WebSocket-Accept: %s", c->accept);
    return (size_t)(end + 4 - (char *)c->in);
}

static void receive(struct conn *c) {
    ssize_t got = recv(c->fd, c->in + c->have, BUFFER - 1 - c->have, 0);
    if (got <= 0) die("the connection ended early: %s", got ? strerror(errno) : "end of stream");
    c->have += (size_t)got;
}

static void dial(struct conn *c, int flags) {
    struct timeval limit = {.tv_sec = LINGER_SECONDS};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(c->fd, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS) die("connect: %s", strerror(errno));
}

/* Opens one upgraded connection, blocking; bytes that followed the head are kept. */
static void open_one(struct conn *c, const char *path) {
    size_t head;
    dial(c, 0);
    send_head(c, path);
    do receive(c);
    while (!(head = upgraded(c)));
    memmove(c->in, c->in + head, c->have -= head);
}

static void send_frame(struct conn *c, int opcode, const void *payload, size_t n) {
    unsigned char frame[6 + 125] = {(unsigned char)(0x80 | opcode), (unsigned char)(0x80 | n), 0x5a, 0xc3, 0x17, 0x88};
    for (size_t i = 0; i < n; i++) frame[6 + i] = ((const unsigned char *)payload)[i] ^ frame[2 + i % 4];
    c->sent_at = now_ns();
    if (!put(c->fd, frame, 6 + n)) die("sending a frame: %s", strerror(errno));
}

static const char message[MESSAGE + 1] = "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789ABCDEF";

/* 1 when the whole echo is there; it must be the message and nothing else. */
static int echoed(struct conn *c) {
    receive(c);
    if (c->have < 2 + MESSAGE) return 0;
    if (c->have != 2 + MESSAGE || c->in[0] != 0x82 || c->in[1] != MESSAGE || memcmp(c->in + 2, message, MESSAGE))
        die("the echo differs from the message");
    c->have = 0;
    return 1;
}

static int closed(struct conn *c) {
    ssize_t got = recv(c->fd, c->in + c->have, BUFFER - 1 - c->have, 0);
    if (got < 0 && errno == EAGAIN && c->state == CLOSING) return 0;    /* elsewhere the read blocks: it timed out */
    if (got < 0) die("no close handshake: %s", strerror(errno));
    c->have += (size_t)got;
    if (got) return 0;
    if (c->have != sizeof CLOSE_1000 || memcmp(c->in, CLOSE_1000, c->have)) die("no close frame 1000 before the end of stream");
    close(c->fd);
    return 1;
}

static void close_one(struct conn *c) {
    send_frame(c, OP_CLOSE, CLOSE_1000 + 2, 2);
    while (!closed(c));
}

static void ready(void) {
    puts("{\"ready\": true}");
    fflush(stdout);
    if (getchar() == EOF) exit(0);
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void echo(struct conn *conns, long count, long seconds) {
    uint32_t *samples = malloc(MAX_SAMPLES * sizeof *samples);
    struct epoll_event events[EVENTS];
    size_t done = 0;
    long in_flight = count;
    int poll = watch();
    for (long i = 0; i < count; i++) {
        open_one(&conns[i], "/echo");
        for (int warm = 0; warm < 5; warm++) {
            send_frame(&conns[i], 2, message, MESSAGE);
            while (!echoed(&conns[i]));
        }
        interest(poll, EPOLL_CTL_ADD, &conns[i], EPOLLIN);
    }
    ready();
    uint64_t start = now_ns(), deadline = start + (uint64_t)seconds * 1000000000u, now = start;
    for (long i = 0; i < count; i++) send_frame(&conns[i], 2, message, MESSAGE);
    while (in_flight) {
        int n = epoll_wait(poll, events, EVENTS, LINGER_SECONDS * 1000);
        if (n <= 0) die("no echo for %d s", LINGER_SECONDS);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (!echoed(c)) continue;
            now = now_ns();
            if (done == MAX_SAMPLES || !samples) die("more than %d samples", MAX_SAMPLES);
            samples[done++] = (uint32_t)(now - c->sent_at);
            if (now < deadline) send_frame(c, 2, message, MESSAGE);
            else in_flight--;
        }
    }
    double elapsed = (double)(now - start) / 1e9;
    qsort(samples, done, sizeof *samples, ascending);
    printf("{\"count\": %zu, \"per_second\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", done, (double)done / elapsed,
           samples[done / 2] / 1e3, samples[done - 1 - done / 100] / 1e3);
    fflush(stdout);
    for (long i = 0; i < count; i++) close_one(&conns[i]);
}

static void start_upgrade(int poll, struct conn *c) {
    dial(c, SOCK_NONBLOCK);
    c->state = CONNECTING;
    interest(poll, EPOLL_CTL_ADD, c, EPOLLOUT);
}

/* Moves one connection on; 1 when it went through its close handshake. */
static int step_upgrade(int poll, struct conn *c) {
    if (c->state == CONNECTING) {
        send_head(c, "/echo");
        c->state = HEAD;
        return interest(poll, EPOLL_CTL_MOD, c, EPOLLIN), 0;
    }
    if (c->state == CLOSING) return closed(c);
    receive(c);
    if (!upgraded(c)) return 0;
    c->have = 0;
    c->state = CLOSING;
    return send_frame(c, OP_CLOSE, CLOSE_1000 + 2, 2), 0;
}

static void upgrade(struct conn *conns, long count, long seconds) {
    struct epoll_event events[EVENTS];
    size_t done = 0;
    long open = count;
    int poll = watch();
    for (int warm = 0; warm < 32; warm++) open_one(&conns[0], "/echo"), close_one(&conns[0]);
    ready();
    uint64_t start = now_ns(), deadline = start + (uint64_t)seconds * 1000000000u, now = start;
    for (long i = 0; i < count; i++) start_upgrade(poll, &conns[i]);
    while (open) {
        int n = epoll_wait(poll, events, EVENTS, LINGER_SECONDS * 1000);
        if (n <= 0) die("no progress for %d s", LINGER_SECONDS);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (!step_upgrade(poll, c)) continue;
            done++;
            now = now_ns();
            if (now < deadline) start_upgrade(poll, c);
            else open--;
        }
    }
    printf("{\"count\": %zu, \"per_second\": %.1f}\n", done, (double)done / ((double)(now - start) / 1e9));
}

static void bulk(struct conn *c, long mb) {
    static unsigned char buffer[1 << 18];
    char path[40];
    size_t total = bulk_bytes(mb), got;
    snprintf(path, sizeof path, "/bulk?mb=%ld", mb);
    open_one(c, "/echo"), close_one(c);
    ready();
    uint64_t start = now_ns();
    open_one(c, path);
    for (size_t at = 0; at < c->have; at++)
        if (c->in[at] != bulk_frame[at % BULK_FRAME]) die("the download differs at byte %zu", at);
    for (got = c->have; got < total;) {
        ssize_t n = recv(c->fd, buffer, sizeof buffer < total - got ? sizeof buffer : total - got, 0);
        if (n <= 0) die("the download ended at %zu of %zu bytes: %s", got, total, n ? strerror(errno) : "end of stream");
        size_t header = (BULK_FRAME - got % BULK_FRAME) % BULK_FRAME;   /* where the next frame begins in this buffer */
        for (size_t at = header; at + 10 <= (size_t)n; at += BULK_FRAME)
            if (memcmp(buffer + at, bulk_frame, 10)) die("no frame header at byte %zu of the download", got + at);
        got += (size_t)n;
    }
    double elapsed = (double)(now_ns() - start) / 1e9;
    printf("{\"count\": %zu, \"per_second\": %.1f}\n", total, (double)total / elapsed);
    fflush(stdout);
    c->have = 0;
    close_one(c);
}

static void idle(struct conn *conns, long count) {
    for (long i = 0; i < count; i++) {
        open_one(&conns[i], "/echo");
        send_frame(&conns[i], 2, message, MESSAGE);
        while (!echoed(&conns[i]));
    }
    ready();
    for (long i = 0; i < count; i++) close_one(&conns[i]);
    puts("{\"closed\": true}");
}

/* A core that sleeps between two messages takes a hypervisor's time to wake, which is no proxy's doing. */
static void awake(void) {
    struct sched_param idle_priority = {0};
    if (sched_setscheduler(0, SCHED_IDLE, &idle_priority) < 0) die("sched_setscheduler: %s", strerror(errno));
    for (;;) __asm__ volatile("");
}

static long number(const char *text, long most) {
    char *end;
    long n = strtol(text, &end, 10);
    if (*end || n < 1 || n > most) die("%s is not a number from 1 to %ld", text, most);
    return n;
}

int main(int argc, char **argv) {
    static const char *usage = "usage: load origin | awake | echo PORT CONNS SECONDS | upgrade PORT CONNS SECONDS | bulk PORT MB | idle PORT CONNS";
    if (argc < 2) die("%s", usage);
    mode = argv[1];
    prctl(PR_SET_PDEATHSIG, SIGKILL);   /* nothing is left behind when the caller is killed */
    if (argc == 2 && !strcmp(mode, "origin")) origin();
    if (argc == 2 && !strcmp(mode, "awake")) awake();
    if (argc < 4) die("%s", usage);
    target = loopback((int)number(argv[2], 65535));
    alarm(2 * MAX_SECONDS);
    if (argc == 4 && !strcmp(mode, "bulk")) {
        struct conn c = {.fd = -1};
        return bulk(&c, number(argv[3], MAX_MB)), 0;
    }
    long count = number(argv[3], MAX_CONNS);
    struct conn *conns = calloc((size_t)count, sizeof *conns);
    if (!conns) die("out of memory");
    if (argc == 4 && !strcmp(mode, "idle")) idle(conns, count);
    else if (argc == 5 && !strcmp(mode, "echo")) echo(conns, count, number(argv[4], MAX_SECONDS));
    else if (argc == 5 && !strcmp(mode, "upgrade")) upgrade(conns, count, number(argv[4], MAX_SECONDS));
    else die("%s", usage);
    return 0;
}
