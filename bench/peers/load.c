/* The load generator of `scripts/bench peers`: WebSocket clients that check every delivery.
 *
 * One thread and one epoll loop. It knows no service by name: what a handshake, a welcome or a
 * publication looks like is told to it as templates, so that all contestants are measured by the
 * same code. It is driven by lines on its standard input and answers each command, once that is
 * done, with one line of JSON:
 *
 *   number NAME VALUE            a setting: see `numbers` below
 *   set NAME PIECE...            a template: hex bytes, and the names of `kinds` where values go
 *   tokens FILE                  one line for each user, for TOKEN
 *   open COUNT WINDOW            more clients, at most WINDOW handshakes at a time
 *   close COUNT                  the newest clients say goodbye, and are waited for
 *   publish NAME TO COUNT RATE   publications to Redis, TO `user` (each in turn) or `all`;
 *                                RATE a second, 0: as fast as Redis takes them; with number
 *                                `beside` also a broadcast each so many milliseconds, which has no
 *                                part in the latencies
 *   burst NAME TO COUNT PID      the same, all at once: the service, PID, stands still until Redis
 *                                has taken all of them
 *   echo COUNT WINDOW            requests of the clients in turn, at most WINDOW unanswered
 *   comeback PORT FIRST LONGEST PATIENCE   from now on lost clients return, to this port, with full
 *                                jitter over a back-off that doubles from FIRST to LONGEST; they give
 *                                up on a handshake after PATIENCE; all in milliseconds
 *   stats                        what was counted since the start
 *
 * Each publication and request carries a stamp: the number of its command, the user, its place
 * in the sequence, and when it left. A client knows which place it must be sent next, so that a
 * delivery that is missing, comes twice or is another user's is counted. Order counts too: one
 * that is overtaken is counted as lost and doubled.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))
#define SECOND 1000000000LL
#define STAMP_MARK "stamp:"
#define STAMP_FORMAT STAMP_MARK "%04u:%06u:%08u:%020lld"
#define STAMP_LENGTH 47
#define EVERYBODY 999999   /* the user in the stamp of a broadcast */
#define STABLE (5 * SECOND) /* online for so long, and a loss counts as the first one again */
#define ACK_EVERY SECOND    /* a client acknowledges at most once in this time */
#define MOST 32768          /* clients */
#define CHUNK 64            /* publications between two looks at the clients */

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static void *grown(void *memory, size_t size) {
    void *larger = realloc(memory, size);
    if (!larger) fail("out of memory");
    return larger;
}

/* --- settings: numbers and templates -------------------------------------------------------- */

static struct {
    const char *name;
    long value;
} numbers[] = {
    {"port", 0},      /* of the service */
    {"redis", 0},     /* the port that publications go to */
    {"per_user", 1},  /* clients of one user */
    {"addresses", 1}, /* loopback addresses that the clients come from */
    {"patience", 3},  /* seconds without any news after which the rest counts as lost */
    {"deadline", 0},  /* seconds after which a command ends in any case; 0: it does not */
    {"beside", 0},    /* milliseconds between broadcasts beside publications to users; 0: none */
};
enum { PORT, REDIS, PER_USER, ADDRESSES, PATIENCE, DEADLINE, BESIDE };

static long number(int which) { return numbers[which].value; }

static const char *kinds[] = {"TEXT", "USER", "CLIENT", "TOKEN", "RESUME", "STAMP", "ID", "EPOCH", "OFFSET"};
enum kind { TEXT, USER, CLIENT, TOKEN, RESUME, STAMP, ID, EPOCH, OFFSET };

struct template {
    char name[16];
    int count;
    struct piece {
        enum kind kind;
        size_t length;
        char *text;
    } pieces[32];
};

static struct template templates[24];
static char **tokens;
static size_t token_count;

/* The template of that name; a new one has no pieces, and stands for "there is none". */
static struct template *template_named(const char *name) {
    for (size_t i = 0; i < LENGTH(templates); i++) {
        if (!*templates[i].name) snprintf(templates[i].name, sizeof templates[i].name, "%s", name);
        if (!strcmp(templates[i].name, name)) return &templates[i];
    }
    fail("too many templates");
    return NULL;
}

static void set_template(char *words) {
    char *name = strtok(words, " ");
    struct template *template = template_named(name ? name : "");
    template->count = 0;
    for (char *word; (word = strtok(NULL, " "));) {
        if (template->count == LENGTH(template->pieces)) fail("too many pieces in %s", name);
        struct piece *piece = &template->pieces[template->count++];
        *piece = (struct piece){.kind = TEXT, .length = strlen(word) / 2};
        for (size_t kind = USER; kind < LENGTH(kinds); kind++)
            if (!strcmp(word, kinds[kind])) piece->kind = kind;
        if (piece->kind != TEXT) continue;
        piece->text = grown(NULL, piece->length + 1);
        for (size_t i = 0; i < piece->length; i++) {
            unsigned byte;
            if (sscanf(word + 2 * i, "%2x", &byte) != 1) fail("no hex in %s: %s", name, word);
            piece->text[i] = byte;
        }
    }
}

static void read_tokens(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) fail("%s: %s", path, strerror(errno));
    char *line = NULL;
    size_t size = 0;
    for (ssize_t length; (length = getline(&line, &size, file)) > 0; line = NULL, size = 0) {
        line[strcspn(line, "\n")] = 0;
        tokens = grown(tokens, (token_count + 1) * sizeof *tokens);
        tokens[token_count++] = line;
    }
    fclose(file);
}

/* --- clients -------------------------------------------------------------------------------- */

struct client {
    enum { ABSENT, CONNECTING, ASKED, UPGRADED, WELCOME, CLOSING } state;
    int fd;
    unsigned failures;  /* in a row, of coming back */
    int64_t began;      /* the attempt to connect */
    int64_t welcome;    /* when it was */
    int64_t return_at;  /* 0: it does not come back */
    int64_t ack_at;     /* 0: nothing to acknowledge */
    unsigned next;      /* the place in the sequence that it must be sent next */
    unsigned beside;    /* ... among the broadcasts beside it */
    bool counts;        /* it was there when the command began */
    char *rest;         /* the start of a frame, whose end is not here yet */
    size_t rest_length;
    char epoch[40]; /* its position, where the service has such */
    long long offset;
};

static struct client clients[MOST];
static unsigned population; /* clients[0] to clients[population - 1] are open, or come back */
static unsigned acks[MOST], ack_head, ack_count; /* clients that must acknowledge, by time */
static int loop;

static struct {
    int port; /* 0: nobody comes back */
    int64_t first, longest, patience;
    unsigned away; /* lost and not back yet */
    unsigned returned;
    int64_t lost_at, back_at; /* the first loss, the last return */
} comeback;

/* --- the command that is carried out, and what it counts ------------------------------------ */

static struct {
    enum { NONE, OPEN, CLOSE, PUBLISH, ECHO } what;
    struct template *template;
    bool broadcast;
    unsigned count, window, step;
    double rate;
    pid_t held; /* the service, while it stands still */
    unsigned begun, done, failed, flying;
    int64_t began, news; /* when it began, when something happened last */
    uint64_t expected, received, lost;
    unsigned beside; /* broadcasts beside the publications so far */
} command;

static unsigned run;                             /* the number of the command, in its stamps */
static uint64_t doubled, misdirected, stray, dropped; /* since the start */
static char why[160];                            /* the last thing that went wrong */
static int64_t *took;                            /* latencies of this command */
static size_t took_count, took_size;

static void note(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    for (char *at = why; *at; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ') *at = '\'';
}

static void note_latency(int64_t nanoseconds) {
    if (took_count == took_size) {
        took_size = took_size ? 2 * took_size : 4096;
        took = grown(took, took_size * sizeof *took);
    }
    took[took_count++] = nanoseconds;
}

static int by_size(const void *one, const void *other) {
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

static double milliseconds_at(double share) {
    return took_count ? took[(size_t)(share * (took_count - 1))] / 1e6 : 0;
}

static unsigned users(void) { return (population + number(PER_USER) - 1) / number(PER_USER); }

static unsigned user_of(unsigned index) { return index / number(PER_USER); }

/* The first place of the sequence that is this client's; from there on each `step`. */
static unsigned lane(unsigned index) {
    if (command.what == ECHO) return index;
    return command.broadcast ? 0 : user_of(index);
}

static void answer(void) {
    int64_t until = command.what == NONE ? now() : command.news;
    if (took_count) qsort(took, took_count, sizeof *took, by_size);
    printf("{\"done\":%u,\"failed\":%u,\"expected\":%llu,\"received\":%llu,\"lost\":%llu,", command.done,
           command.failed, (unsigned long long)command.expected, (unsigned long long)command.received,
           (unsigned long long)command.lost);
    printf("\"doubled\":%llu,\"misdirected\":%llu,\"stray\":%llu,\"dropped\":%llu,", (unsigned long long)doubled,
           (unsigned long long)misdirected, (unsigned long long)stray, (unsigned long long)dropped);
    printf("\"seconds\":%.6f,\"p50\":%.4f,\"p99\":%.4f,\"max\":%.4f,", (until - command.began) / 1e9,
           milliseconds_at(0.5), milliseconds_at(0.99), milliseconds_at(1));
    printf("\"clients\":%u,\"away\":%u,\"returned\":%u,\"back_seconds\":%.4f,\"why\":\"%s\"}\n", population,
           comeback.away, comeback.returned, (comeback.back_at - comeback.lost_at) / 1e9, why);
    fflush(stdout);
    command.what = NONE;
}

/* --- bytes out ------------------------------------------------------------------------------ */

struct values {
    unsigned index, user, place;
    int64_t time;
};

static char scratch[1 << 16];

/* Fills `scratch`; the length. */
static size_t expand(const struct template *template, struct values of) {
    size_t length = 0;
    const struct client *client = &clients[of.index];
    for (int i = 0; i < template->count; i++) {
        const struct piece *piece = &template->pieces[i];
        char *to = scratch + length;
        size_t space = sizeof scratch - length;
        switch (piece->kind) {
        case TEXT:
            if (piece->length > space) fail("%s is too long", template->name);
            memcpy(to, piece->text, piece->length);
            length += piece->length;
            continue;
        case USER: length += snprintf(to, space, "u%06u", of.user); break;
        case CLIENT: length += snprintf(to, space, "%08u", of.index); break;
        case TOKEN:
            if (of.user >= token_count) fail("there is no token for user %u", of.user);
            length += snprintf(to, space, "%s", tokens[of.user]);
            break;
        case RESUME:
            if (*client->epoch) length += snprintf(to, space, "&epoch=%s&offset=%lld", client->epoch, client->offset);
            break;
        case STAMP: length += snprintf(to, space, STAMP_FORMAT, run, of.user, of.place, (long long)of.time); break;
        case ID: length += snprintf(to, space, "01M%013u%010u", run, of.place); break; /* a ULID by its form */
        case EPOCH: length += snprintf(to, space, "%s", client->epoch); break;
        case OFFSET: length += snprintf(to, space, "%lld", client->offset); break;
        }
        if (length >= sizeof scratch) fail("%s is too long", template->name);
    }
    return length;
}

/* One frame of a client. The mask is zero, which is a mask too and leaves the bytes as they are. */
static bool send_frame(struct client *client, int opcode, const char *bytes, size_t length) {
    static char frame[sizeof scratch + 8];
    size_t head = 2;
    frame[0] = 0x80 | opcode;
    if (length < 126) {
        frame[1] = 0x80 | length;
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = length >> 8;
        frame[3] = length;
        head = 4;
    }
    memset(frame + head, 0, 4);
    memcpy(frame + head + 4, bytes, length);
    size_t whole = head + 4 + length;
    if (send(client->fd, frame, whole, MSG_NOSIGNAL) == (ssize_t)whole) return true;
    note("a client could not write: %s", strerror(errno));
    return false;
}

static bool send_text(unsigned index, const char *name) {
    size_t length = expand(template_named(name), (struct values){.index = index, .user = user_of(index)});
    return send_frame(&clients[index], 1, scratch, length);
}

/* --- connecting, losing, coming back -------------------------------------------------------- */

static void watch(int fd, uint32_t id, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.u32 = id};
    if (epoll_ctl(loop, how, fd, &event)) fail("epoll_ctl: %s", strerror(errno));
}

/* The attempt to connect came to nothing, or the connection is over. */
static void lost(unsigned index, bool for_ever) {
    struct client *client = &clients[index];
    bool was_welcome = client->state == WELCOME, was_closing = client->state == CLOSING;
    if (client->fd >= 0) close(client->fd);
    free(client->rest);
    client->fd = -1;
    client->rest = NULL;
    client->rest_length = 0;
    client->state = ABSENT;
    command.news = now();
    if (was_closing && command.what == CLOSE) {
        command.done++;
    } else if (comeback.port && !for_ever) {
        if (was_welcome && !comeback.away++ && !comeback.lost_at) comeback.lost_at = now();
        if (was_welcome && now() - client->welcome > STABLE) client->failures = 0;
        unsigned doublings = client->failures < 20 ? client->failures : 20;
        int64_t most = comeback.first << doublings;
        if (most > comeback.longest) most = comeback.longest;
        client->return_at = now() + (int64_t)(drand48() * most);
        client->failures++;
    } else if (was_welcome) {
        dropped++;
    } else if (command.what == OPEN) {
        command.failed++;
        command.flying--;
    }
}

static void begin_connecting(unsigned index) {
    struct client *client = &clients[index];
    client->state = CONNECTING;
    client->began = now();
    client->return_at = 0;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0) fail("socket: %s (is `ulimit -n` high enough?)", strerror(errno));
    int one = 1;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    unsigned place = index % number(ADDRESSES); /* 127.0.1.1 to 127.0.1.250, 127.0.2.1 ... */
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(0x7f000101 + (place / 250 << 8) + place % 250)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(comeback.port ? comeback.port : number(PORT)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(client->fd, (struct sockaddr *)&from, sizeof from)) fail("bind: %s", strerror(errno));
    watch(client->fd, index, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
    if (connect(client->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) {
        note("connect: %s", strerror(errno));
        lost(index, false);
    }
}

static void ask_for_upgrade(unsigned index) {
    struct client *client = &clients[index];
    size_t length = expand(template_named("request"), (struct values){.index = index, .user = user_of(index)});
    if (send(client->fd, scratch, length, MSG_NOSIGNAL) != (ssize_t)length) {
        note("the handshake could not be written: %s", strerror(errno));
        lost(index, false);
        return;
    }
    client->state = ASKED;
    watch(client->fd, index, EPOLLIN, EPOLL_CTL_MOD);
}

static void welcomed(unsigned index) {
    struct client *client = &clients[index];
    client->state = WELCOME;
    client->welcome = command.news = now();
    if (comeback.away) {
        comeback.away--;
        comeback.returned++;
        comeback.back_at = client->welcome;
    } else if (command.what == OPEN) {
        note_latency(client->welcome - client->began);
        command.done++;
        command.flying--;
    }
}

/* --- bytes in ------------------------------------------------------------------------------- */

static bool contains(const char *bytes, size_t length, const struct template *sought) {
    const struct piece *piece = &sought->pieces[0];
    return sought->count && memmem(bytes, length, piece->text, piece->length);
}

static bool begins_with(const char *bytes, size_t length, const struct template *sought) {
    const struct piece *piece = &sought->pieces[0];
    return sought->count && length >= piece->length && !memcmp(bytes, piece->text, piece->length);
}

static void check_delivery(unsigned index, const char *stamp) {
    struct client *client = &clients[index];
    unsigned its_run, user, place;
    long long sent;
    char text[STAMP_LENGTH + 1];
    memcpy(text, stamp, STAMP_LENGTH);
    text[STAMP_LENGTH] = 0;
    if (sscanf(text, STAMP_MARK "%u:%u:%u:%lld", &its_run, &user, &place, &sent) != 4) return;
    command.news = now();
    if (user == EVERYBODY && command.beside && its_run == run) {
        if (place < client->beside) {
            doubled++;
            return;
        }
        command.lost += place - client->beside;
        client->beside = place + 1;
        command.received++;
    } else if (user != (command.broadcast ? EVERYBODY : user_of(index)))
        misdirected++;
    else if (its_run != run || !client->counts)
        stray++; /* of an earlier command: late, or once more */
    else if (place < client->next)
        doubled++;
    else {
        command.lost += (place - client->next) / command.step;
        client->next = place + command.step;
        command.received++;
        note_latency(command.news - sent);
        if (command.what == ECHO) command.flying--;
    }
}

/* The position in a welcome, or in a durable message: `"epoch":"…"` and `"offset":N`. */
static void note_position(unsigned index, const char *bytes, size_t length) {
    struct client *client = &clients[index];
    const char *at = memmem(bytes, length, "\"epoch\":\"", 9);
    if (at) {
        size_t size = strcspn(at + 9, "\"");
        if (size < sizeof client->epoch) snprintf(client->epoch, sizeof client->epoch, "%.*s", (int)size, at + 9);
    }
    at = memmem(bytes, length, "\"offset\":", 9);
    if (!at) return;
    client->offset = strtoll(at + 9, NULL, 10);
    if (client->state != WELCOME || client->ack_at || ack_count == MOST || !template_named("ack")->count) return;
    client->ack_at = now() + ACK_EVERY;
    acks[(ack_head + ack_count++) % MOST] = index;
}

static void handle_text(unsigned index, const char *bytes, size_t length) {
    struct client *client = &clients[index];
    static struct template *ping, *welcome;
    if (!ping) ping = template_named("ping"), welcome = template_named("welcome");
    size_t start = length < 400 ? length : 400; /* where positions stand */
    if (begins_with(bytes, length, ping)) {
        send_text(index, "pong");
    } else if (client->state == UPGRADED && contains(bytes, length, welcome)) {
        note_position(index, bytes, start);
        welcomed(index);
    } else {
        const char *stamp = memmem(bytes, length, STAMP_MARK, strlen(STAMP_MARK));
        if (!stamp) {
            note("a client got: %.*s", (int)(length < 120 ? length : 120), bytes);
            return;
        }
        if (stamp + STAMP_LENGTH > bytes + length) return;
        check_delivery(index, stamp);
        note_position(index, bytes, start);
    }
}

/* False: the connection is over. */
static bool handle_frame(unsigned index, int opcode, const char *bytes, size_t length) {
    struct client *client = &clients[index];
    switch (opcode) {
    case 1: handle_text(index, bytes, length); return true;
    case 9: return send_frame(client, 10, bytes, length);
    case 10: return true;
    case 8: {
        unsigned code = length < 2 ? 1005 : (unsigned char)bytes[0] << 8 | (unsigned char)bytes[1];
        if (client->state == CLOSING) return true; /* the service ends the connection */
        note("closed %u: %.*s", code, length < 2 ? 0 : (int)length - 2, bytes + 2);
        send_frame(client, 8, bytes, length < 2 ? 0 : 2);
        lost(index, code >= 4500 && code <= 4999);
        return false;
    }
    default: fail("a frame with opcode %d: fragments and binary frames are not spoken here", opcode);
    }
    return false;
}

/* How many bytes of the head or frame at the start there are; 0: not all are here. */
static size_t take(unsigned index, char *bytes, size_t length) {
    struct client *client = &clients[index];
    if (client->state == ASKED) {
        char *end = memmem(bytes, length, "\r\n\r\n", 4);
        if (!end) return 0;
        if (strncmp(bytes, "HTTP/1.1 101", 12)) {
            note("the handshake was answered: %.*s", (int)strcspn(bytes, "\r"), bytes);
            lost(index, false);
            return 0;
        }
        client->state = UPGRADED;
        if (template_named("hello")->count) send_text(index, "hello");
        return end + 4 - bytes;
    }
    if (length < 2) return 0;
    const unsigned char *head = (unsigned char *)bytes;
    if (!(head[0] & 0x80) || head[1] & 0x80) fail("a frame in fragments, or with a mask");
    size_t size = head[1], start = 2;
    if (size == 126) {
        if (length < 4) return 0;
        size = head[2] << 8 | head[3];
        start = 4;
    } else if (size == 127) {
        fail("a frame of more than 64 KB");
    }
    if (length < start + size) return 0;
    return handle_frame(index, head[0] & 15, bytes + start, size) ? start + size : 0;
}

static void readable(unsigned index) {
    static char bytes[1 << 18];
    struct client *client = &clients[index];
    size_t length = client->rest_length, at = 0;
    if (length) memcpy(bytes, client->rest, length);
    ssize_t more = recv(client->fd, bytes + length, sizeof bytes - length - 1, 0);
    if (more <= 0) {
        if (more < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (client->state != CLOSING) note("the connection ended: %s", more ? strerror(errno) : "end of stream");
        lost(index, false);
        return;
    }
    length += more;
    bytes[length] = 0;
    for (size_t taken; (taken = take(index, bytes + at, length - at));) at += taken;
    if (client->state == ABSENT) return;
    client->rest_length = length - at;
    if (client->rest_length) {
        client->rest = grown(client->rest, client->rest_length);
        memcpy(client->rest, bytes + at, client->rest_length);
    }
}

/* --- Redis ---------------------------------------------------------------------------------- */

static struct {
    int fd;
    char *bytes; /* not written yet */
    size_t start, length, size;
} redis = {.fd = -1};

enum { OF_REDIS = UINT32_MAX - 1, OF_INPUT };

static void write_redis(void) {
    while (redis.start < redis.length) {
        ssize_t written = send(redis.fd, redis.bytes + redis.start, redis.length - redis.start, MSG_NOSIGNAL);
        if (written < 0 && errno == EAGAIN) break;
        if (written < 0) fail("Redis: %s", strerror(errno));
        redis.start += written;
    }
    if (redis.start == redis.length) redis.start = redis.length = 0;
    watch(redis.fd, OF_REDIS, redis.length ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
}

static void connect_redis(void) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(number(REDIS)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    redis.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(redis.fd, (struct sockaddr *)&to, sizeof to)) fail("Redis: %s", strerror(errno));
    fcntl(redis.fd, F_SETFL, O_NONBLOCK);
    int one = 1;
    setsockopt(redis.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(redis.fd, OF_REDIS, EPOLLIN, EPOLL_CTL_ADD);
}

/* To be written; what is told in answer to ECHO says that all before it was done. */
static void tell_redis(const char *bytes, size_t length) {
    if (redis.length + length > redis.size) {
        redis.size = 2 * (redis.length + length);
        redis.bytes = grown(redis.bytes, redis.size);
    }
    memcpy(redis.bytes + redis.length, bytes, length);
    redis.length += length;
}

/* Answers say nothing that is needed, but for errors and the last one of a burst. */
static void read_redis(void) {
    static char bytes[1 << 16];
    ssize_t length = recv(redis.fd, bytes, sizeof bytes - 1, 0);
    if (length < 0 && errno == EAGAIN) return;
    if (length <= 0) fail("Redis ended the connection");
    bytes[length] = 0;
    char *error = *bytes == '-' ? bytes : strstr(bytes, "\r\n-");
    if (error) fail("Redis answered: %.*s", (int)strcspn(error + 2, "\r"), error);
    /* The answer to ECHO is the only one that ends so. */
    if (!command.held || command.begun < command.count || bytes[length - 3] != '!') return;
    kill(command.held, SIGCONT);
    command.held = 0;
    command.news = now();
}

static void publish_beside(void) {
    static struct template *broadcast;
    if (!broadcast) broadcast = template_named("broadcast");
    tell_redis(scratch, expand(broadcast, (struct values){0, EVERYBODY, command.beside, now()}));
    command.beside++;
    command.expected += population;
}

static void publish_one(void) {
    unsigned user = command.broadcast ? EVERYBODY : command.begun % command.step;
    tell_redis(scratch, expand(command.template, (struct values){0, user, command.begun, now()}));
    command.begun++;
    if (command.held && command.begun == command.count) tell_redis("*2\r\n$4\r\nECHO\r\n$1\r\n!\r\n", 21);
}

/* --- carrying out the command --------------------------------------------------------------- */

static void begin_counting(void) {
    run++;
    command.step = command.what == ECHO ? population : command.broadcast ? 1 : users();
    for (unsigned i = 0; i < population; i++) {
        clients[i].counts = true;
        clients[i].next = lane(i);
        clients[i].beside = 0;
        if (command.what == ECHO || command.count <= lane(i)) continue;
        command.expected += (command.count - lane(i) + command.step - 1) / command.step;
    }
    if (command.what == ECHO) command.expected = command.count;
}

static void count_what_never_came(void) {
    for (unsigned i = 0; i < population; i++)
        /* Who is on the way back may get it still: that is counted as away. */
        if (clients[i].state == WELCOME || !comeback.port) {
            if (clients[i].next < command.count)
                command.lost += (command.count - clients[i].next + command.step - 1) / command.step;
            command.lost += command.beside - clients[i].beside;
        }
}

static void step_open(void) {
    while (command.begun < command.count && command.flying < command.window) {
        clients[population] = (struct client){.fd = -1};
        command.begun++;
        command.flying++;
        begin_connecting(population++);
    }
    if (command.done + command.failed == command.count) answer();
}

static void step_close(void) {
    if (!command.begun) {
        for (; command.begun < command.count && population; command.begun++) {
            struct client *client = &clients[--population];
            if (client->state != WELCOME) {
                command.done++;
                continue;
            }
            client->state = CLOSING;
            send_frame(client, 8, "\x03\xe8", 2);
        }
    }
    if (command.done == command.begun) answer();
}

/* Publishes what is due; when the next one is, 0: none is to come. */
static int64_t step_publish(void) {
    int64_t due = 0;
    int64_t beside = number(BESIDE) && !command.broadcast ? number(BESIDE) * SECOND / 1000 : 0;
    if (beside && command.begun < command.count && now() >= command.began + (command.beside + 1) * beside)
        publish_beside();
    for (int i = 0; i < CHUNK && command.begun < command.count; i++) {
        due = command.rate > 0 ? command.began + (int64_t)(command.begun / command.rate * SECOND) : 0;
        /* As fast as Redis takes them: what it has not taken yet holds up the next ones. */
        if (command.rate > 0 ? due > now() : redis.length > sizeof scratch) break;
        publish_one();
        command.news = now();
    }
    if (redis.length) write_redis();
    bool all_here = command.received + command.lost >= command.expected;
    if (command.begun == command.count && all_here && !comeback.away) {
        command.done = command.begun;
        count_what_never_came();
        answer();
        return 0;
    }
    return command.begun < command.count ? (due ? due : now()) : 0;
}

static void step_echo(void) {
    static struct template *echo;
    if (!echo) echo = template_named("echo");
    while (command.begun < command.count && command.flying < command.window) {
        unsigned index = command.begun % command.step;
        size_t length = expand(echo, (struct values){index, user_of(index), command.begun, now()});
        if (clients[index].state == WELCOME) send_frame(&clients[index], 1, scratch, length);
        command.begun++;
        command.flying++;
    }
    if (command.received == command.expected) {
        command.done = command.begun;
        answer();
    }
}

static void give_up_if_silent(void) {
    bool is_late = number(DEADLINE) && now() - command.began > number(DEADLINE) * SECOND;
    bool is_silent = now() - command.news > number(PATIENCE) * SECOND;
    if (command.what == PUBLISH && command.begun < command.count) is_silent = false; /* more is to come */
    if (command.what == NONE || !(is_silent || is_late)) return;
    if (command.what == PUBLISH || command.what == ECHO) {
        count_what_never_came();
        command.done = command.begun;
    } else {
        command.failed += command.count - command.done - command.failed;
    }
    answer();
}

static void send_due_acks(void) {
    for (; ack_count; ack_head = (ack_head + 1) % MOST, ack_count--) {
        struct client *client = &clients[acks[ack_head]];
        if (client->ack_at > now()) return;
        if (client->ack_at && client->state == WELCOME) send_text(acks[ack_head], "ack");
        client->ack_at = 0;
    }
}

/* When somebody comes back next; 0: nobody. */
static int64_t let_return(void) {
    static int64_t looked;
    if (!comeback.away) return 0;
    if (now() - looked > SECOND / 500) { /* not all of them each turn */
        looked = now();
        for (unsigned i = 0; i < population; i++) {
            struct client *client = &clients[i];
            if (client->return_at && client->return_at <= looked) {
                begin_connecting(i);
            } else if (client->state != ABSENT && client->state < WELCOME &&
                       looked - client->began > comeback.patience) {
                note("no welcome within %lld ms", (long long)comeback.patience / 1000000);
                lost(i, false);
            }
        }
    }
    return looked + SECOND / 500;
}

static int64_t sooner(int64_t one, int64_t other) { return !other || (one && one < other) ? one : other; }

/* Does what is due; returns when to look again, at the latest. */
static int64_t step(void) {
    int64_t due = 0;
    switch (command.what) {
    case OPEN: step_open(); break;
    case CLOSE: step_close(); break;
    case PUBLISH: due = step_publish(); break;
    case ECHO: step_echo(); break;
    case NONE: break;
    }
    give_up_if_silent();
    send_due_acks();
    due = sooner(due, let_return());
    if (ack_count) due = sooner(due, clients[acks[ack_head]].ack_at);
    return sooner(due, now() + SECOND / 10);
}

static void prepare_publishing(const char *name, const char *to) {
    command.what = PUBLISH;
    command.template = template_named(name);
    if (!command.template->count) fail("there is no template %s", name);
    command.broadcast = !strcmp(to, "all");
    if (redis.fd < 0) connect_redis();
}

static void obey(char *line) {
    char name[16] = "", to[8] = "";
    unsigned count = 0;
    pid_t held = 0;
    double value = 0, longest = 0, patience = 0;
    memset(&command, 0, sizeof command);
    took_count = 0;
    *why = 0;
    if (!strncmp(line, "set ", 4)) {
        set_template(line + 4);
    } else if (sscanf(line, "number %15s %u", name, &count) == 2) {
        size_t i = 0;
        while (i < LENGTH(numbers) && strcmp(numbers[i].name, name)) i++;
        if (i == LENGTH(numbers)) fail("there is no number %s", name);
        numbers[i].value = count;
    } else if (!strncmp(line, "tokens ", 7)) {
        read_tokens(line + 7);
    } else if (sscanf(line, "comeback %u %lf %lf %lf", &count, &value, &longest, &patience) == 4) {
        memset(&comeback, 0, sizeof comeback);
        comeback.port = count;
        comeback.first = value * 1e6;
        comeback.longest = longest * 1e6;
        comeback.patience = patience * 1e6;
    } else if (sscanf(line, "open %u %lf", &count, &value) == 2) {
        command.what = OPEN;
        if (population + count > MOST) fail("at most %d clients", MOST);
    } else if (sscanf(line, "close %u", &count) == 1) {
        command.what = CLOSE;
    } else if (sscanf(line, "publish %15s %7s %u %lf", name, to, &count, &value) == 4) {
        prepare_publishing(name, to);
    } else if (sscanf(line, "burst %15s %7s %u %d", name, to, &count, &held) == 4) {
        prepare_publishing(name, to);
        if (kill(held, SIGSTOP)) fail("process %d cannot be stopped: %s", held, strerror(errno));
        command.held = held;
    } else if (sscanf(line, "echo %u %lf", &count, &value) == 2) {
        command.what = ECHO;
    } else if (strcmp(line, "stats")) {
        fail("what is this: %.80s", line);
    }
    command.count = count;
    command.window = command.rate = value;
    command.began = command.news = now();
    if (command.what == PUBLISH || command.what == ECHO) begin_counting();
    if (command.what == NONE) answer();
}

/* Lines of any length; false at the end of the input. */
static bool read_input(void) {
    static char *bytes;
    static size_t length, size;
    if (length + 4096 > size) bytes = grown(bytes, size = 2 * size + 8192);
    ssize_t more = read(0, bytes + length, size - length - 1);
    if (more <= 0) return false;
    length += more;
    bytes[length] = 0;
    for (char *end; (end = strchr(bytes, '\n'));) {
        *end = 0;
        obey(bytes);
        length -= end + 1 - bytes;
        memmove(bytes, end + 1, length + 1);
    }
    return true;
}

int main(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1);
    loop = epoll_create1(EPOLL_CLOEXEC);
    watch(0, OF_INPUT, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        int64_t wait = step() - now();
        if (wait < 0) wait = 0;
        /* epoll_wait counts milliseconds, which is too coarse for 500 a second. */
        struct timespec timeout = {wait / SECOND, wait % SECOND};
        ppoll(&(struct pollfd){.fd = loop, .events = POLLIN}, 1, &timeout, NULL);
        struct epoll_event events[256];
        int count = epoll_wait(loop, events, LENGTH(events), 0);
        for (int i = 0; i < count; i++) {
            uint32_t id = events[i].data.u32, what = events[i].events;
            if (id == OF_INPUT) {
                if (!read_input()) return 0;
            } else if (id == OF_REDIS) {
                if (what & EPOLLIN) read_redis();
                if (what & EPOLLOUT) write_redis();
            } else if (clients[id].state == CONNECTING && what & EPOLLOUT && !(what & EPOLLERR)) {
                ask_for_upgrade(id);
            } else if (clients[id].state != ABSENT) {
                readable(id);
            }
        }
    }
}
