/* Arduino sketch: listens to the PDM microphone of a board that has one with Arduino's PDM library (Nano 33 BLE Sense,
   Nano RP2040 Connect, Nicla Vision), and prints every decision. */
#include <PDM.h>
#include <l3clf.h>

static l3clf_state state;
static uint8_t arena[L3CLF_ARENA_BYTES] __attribute__((aligned(8)));

/* Samples wait here while a slice of the network is computed: 0.25 s, a power of two. */
static const uint32_t ROOM = 4096;
static int16_t room[ROOM];
static volatile uint32_t n_heard; /* the interrupt writes it */
static uint32_t n_taken;          /* the loop writes it */

static void on_sound()
{
    static int16_t piece[256];
    int left = PDM.available();
    while (left > 0) {
        const int bytes = PDM.read(piece, left < (int)sizeof piece ? left : (int)sizeof piece);
        if (bytes <= 0) {
            break;
        }
        for (int i = 0; i < bytes / 2; i++) {
            room[(n_heard + i) % ROOM] = piece[i];
        }
        n_heard = n_heard + bytes / 2;
        left -= bytes;
    }
}

#ifdef L3CLF_TAGS
static void on_decision(void *, const l3clf_decision *decision)
{
    for (int tag = 0; tag < L3CLF_N_TAGS; tag++) {
        if (decision->tags[tag]) {
            Serial.print(l3clf_tag_names[tag]);
            Serial.print(" ");
        }
    }
    Serial.println();
}
#else
static void on_decision(void *, const l3clf_decision *decision)
{
    Serial.print(decision->class_id == L3CLF_UNKNOWN ? "unknown" : l3clf_class_names[decision->class_id]);
    Serial.print(" ");
    Serial.println(decision->probability);
}
#endif

static void stop(const char *why)
{
    for (;;) {
        Serial.println(why);
        delay(1000);
    }
}

void setup()
{
    Serial.begin(115200);
    if (l3clf_init(&state, arena, sizeof arena, on_decision, NULL) != 0) {
        stop("the model refuses its memory");
    }
    PDM.onReceive(on_sound);
    if (!PDM.begin(1, L3CLF_SAMPLE_RATE)) {
        stop("no microphone, or not at this sample rate");
    }
}

void loop()
{
    const uint32_t waiting = n_heard - n_taken, to_end = ROOM - n_taken % ROOM;
    if (waiting > ROOM) { /* what was lost would be heard as a click */
        Serial.println("samples lost");
        n_taken = n_heard;
        l3clf_reset(&state);
    } else if (waiting >= L3CLF_FRAME_HOP) {
        const uint32_t n = to_end < L3CLF_FRAME_HOP ? to_end : L3CLF_FRAME_HOP;
        l3clf_feed(&state, room + n_taken % ROOM, n);
        n_taken += n;
    } else {
        l3clf_step(&state, 100000);
    }
}
