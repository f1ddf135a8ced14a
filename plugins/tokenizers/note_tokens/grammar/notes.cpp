// The grammar of REMI and TSD, one row after the other; note_grammar.py says the same of all rows.
// Shapes: b batch, v vocabulary, m meters, k notes of one token at most, f fields.

static int64_t floored(int64_t a, int64_t b) {
    const int64_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}

// Index of the bar in which a token leaves the music.
static int64_t bar_after(const Tables &t, const int64_t *f, int64_t id) {
    const int64_t meter = f[F_meter], at = meter * t.size + id, told = t.bars_told[at];
    if (t.remi) return f[F_bars] + told - 1;
    const int64_t now = f[F_now], anchor = f[F_anchor];
    if (!t.tells[id]) return f[F_bars] + floored(now + t.now[at] - anchor, t.bar[meter]);
    const int64_t first = f[F_bars] + floored(now + t.first_meter_at[at] - anchor, t.bar[meter]) + told;
    return first + floored(t.now[at] - t.anchor[at], t.bar[t.meter[at]]);
}

static int64_t bar_of(const Tables &t, const int64_t *f) {
    if (t.remi) return f[F_bars] - 1;
    return f[F_bars] + floored(f[F_now] - f[F_anchor], t.bar[f[F_meter]]);
}

// Strikes the tokens in which a note would begin while its key sounds.
static void keep_apart(const Tables &t, const int64_t *f, const int64_t *busy, bool *row) {
    const int64_t meter = f[F_meter], now = f[F_now], anchor = f[F_anchor];
    const int64_t from[2] = {now, anchor};
    const int64_t floor = t.anchors ? std::min(now, anchor) : now;  // no note of a token begins before
    for (int64_t key = 0; key < t.keys; ++key) {
        const int64_t until = busy[key];
        if (until <= floor) continue;
        const int32_t *onset = t.note_onset + meter * t.notes;
        for (int64_t i = t.key_start[key]; i < t.key_start[key + 1]; ++i)
            row[t.note_owner[i]] &= until <= from[t.note_anchored[i]] + onset[i];
    }
    for (int64_t i = 0; i < t.mixed; ++i)
        if (now + t.mixed_end[meter * t.mixed + i] > anchor + t.mixed_onset[meter * t.mixed + i])
            row[t.mixed_owner[i]] = false;
    const auto strike = [&](int64_t first, int64_t end) {
        for (int64_t i = first; i < end; ++i)
            if (now + t.after_end[meter * t.after + i] > from[t.after_anchored[i]] + t.after_onset[meter * t.after + i])
                row[t.after_owner[i]] = false;
    };
    const int64_t open = f[F_open_key];
    if (open >= 0) strike(t.after_start[open], t.after_start[open + 1]);
    for (int64_t i = t.after_start[t.keys]; i < t.after; ++i)
        if (f[F_program] * 128 + t.after_head[i] == t.after_key[i]) strike(i, i + 1);
}

// What a token makes of the fields f, in n, and of `busy`, in place.
static void play(const Tables &t, const int64_t *f, int64_t id, int64_t *n, int64_t *busy) {
    const int64_t at = f[F_meter] * t.size + id;
    const int64_t now = f[F_now], anchor = f[F_anchor], after = t.phases[f[F_phase] * t.size + id];
    n[F_phase] = after >= 0 ? after : f[F_phase];
    n[F_meter] = t.meter[at];
    n[F_now] = (t.anchored[id] ? anchor : now) + t.now[at];
    if (t.remi) {
        n[F_anchor] = anchor + t.anchor[at];
        n[F_bars] = f[F_bars] + t.bars_told[at];
    } else if (t.tells[id]) {
        n[F_anchor] = now + t.anchor[at];
        n[F_bars] = f[F_bars] + floored(now + t.first_meter_at[at] - anchor, t.bar[f[F_meter]]) + t.bars_told[at];
    } else {
        n[F_anchor] = anchor;
        n[F_bars] = f[F_bars];
    }
    const int64_t pitch = t.head_pitch_of[id], head = pitch >= 0 ? f[F_program] * 128 + pitch : f[F_open_key];
    const auto chosen = [&](int64_t told, int64_t found) { return told == AS_FOUND ? found : told == HEAD ? head : told; };
    n[F_position] = t.position[id] == -2 ? f[F_position] : t.position[id];
    n[F_last_key] = chosen(t.last_key[id], f[F_last_key]);
    n[F_program] = t.program[id] < 0 ? f[F_program] : t.program[id];
    n[F_open_key] = chosen(t.open_key[id], f[F_open_key]);
    n[F_notes] = f[F_notes] | t.plays[id] | (after == NOTE);
    n[F_blank] = t.blank[id];
    n[F_tokens] = f[F_tokens] + 1;
    int64_t &ended = busy[t.head_closes[id] && head >= 0 ? head : t.keys];
    ended = std::max(ended, now + t.head_end[at]);
    for (int64_t k = 0; k < t.own; ++k) {
        int64_t &until = busy[t.own_key[id * t.own + k]];
        until = std::max(until, (t.own_anchored[id * t.own + k] ? anchor : now) + t.own_end[at * t.own + k]);
    }
}

// Whether the piece may end here or a note may follow, here or at a later time within bars and length.
static bool alive(const Tables &t, const int64_t *f, const int64_t *busy) {
    const int64_t phase = f[F_phase], now = f[F_now], meter = f[F_meter], bar = t.bar[meter];
    if (phase == PITCH || phase == VELOCITY) return true;
    if (phase == NOTE && bar_of(t, f) >= t.bars - 1) return true;
    const bool announced = phase == PROGRAM || phase == DRUMS;
    const bool here = phase == TIME || phase == TEMPO || phase == KEY || phase == NOTE || (!t.remi && phase <= METER);
    if (announced || here) {
        const int64_t first = announced ? f[F_program] * 128 : 0, end = announced ? first + 128 : t.keys;
        for (int64_t key = std::max(first, f[F_last_key] + 1); key < end; ++key)
            if (busy[key] <= now) return true;
    }
    if (announced || (phase == TIME && !t.waits)) return false;
    const int64_t free = *std::min_element(busy, busy + t.keys), onset = std::max(free, now + here * t.step[meter]);
    if (t.bars && onset > f[F_anchor] + (t.bars - f[F_bars] + t.remi) * bar - t.step[meter]) return false;
    const int64_t more = std::max<int64_t>(0, floored(onset - f[F_anchor], bar)) * (1 + t.meters_told);
    const int64_t cost = t.remi ? more + 1 + (phase == TIME) + (phase == BAR)
                                : floored(onset - now, t.longest[meter]) + 2 + (phase == START) * t.meters_told;
    return !t.length || t.note + cost <= t.length - f[F_tokens];
}

// Strikes the tokens behind which nothing could follow, though the piece could not end.
static void go_on(const Tables &t, const int64_t *f, const int64_t *busy, bool *row, int64_t *scratch) {
    const int64_t now = f[F_now];
    const auto check = [&](int64_t id) {
        int64_t n[FIELDS];
        std::memcpy(scratch, busy, (t.keys + 1) * sizeof(int64_t));
        play(t, f, id, n, scratch);
        row[id] = alive(t, n, scratch);
    };
    int64_t free = 0;
    for (int64_t key = 0; key < t.keys; ++key) free += busy[key] <= now;
    if (free <= t.some) {  // one token could take the last ones
        for (int64_t id = 0; id < t.size; ++id)
            if (row[id]) check(id);
        return;
    }
    for (int64_t i = 0; i < t.announced; ++i) {
        const int64_t id = t.announce[i], top = t.announce_top[i];
        if (!row[id]) continue;
        const int64_t pitch = t.head_pitch_of[id], head = pitch >= 0 ? f[F_program] * 128 + pitch : f[F_open_key];
        const int64_t told = t.last_key[id], last = told == AS_FOUND ? f[F_last_key] : told == HEAD ? head : told;
        if (top < 0 || busy[top] > now || top <= last || top == head || t.announce_own[i]) check(id);
    }
}

// fields (b f), busy (b keys + 1) -> out (b v)
extern "C" int64_t allowed(const Tables *tables, int64_t batch, const int64_t *fields, const int64_t *busy, bool *out) {
    const Tables &t = *tables;
    const int64_t size = t.size;
    std::vector<int64_t> scratch(t.keys + 1);
    for (int64_t b = 0; b < batch; ++b, fields += FIELDS, busy += t.keys + 1, out += size) {
        const int64_t *f = fields;
        const int64_t meter = f[F_meter], now = f[F_now], anchor = f[F_anchor];
        const int32_t position = f[F_position], last = f[F_last_key];
        const bool *opens = t.opens + (f[F_phase] * t.meters + meter) * size;
        for (int64_t v = 0; v < size; ++v)
            out[v] = opens[v] & (t.first_position[v] > position) & (t.first_key[v] > last);
        if (t.blanks && f[F_blank] == 1)
            for (int64_t v = 0; v < size; ++v) out[v] &= !t.blank[v];
        for (int64_t h = 0; h < t.heads; ++h) {
            const int64_t key = f[F_program] * 128 + t.head_pitch[h];
            out[t.head[h]] &= busy[key] <= now && key > last && key < t.second_key[h];
        }
        keep_apart(t, f, busy, out);
        for (int64_t i = 0; i < t.tolds; ++i) {
            const int64_t id = t.told[i], at = now + t.first_meter_at[meter * size + id] - anchor;
            out[id] &= at - floored(at, t.bar[meter]) * t.bar[meter] == 0;
        }
        if (t.bars)
            for (int64_t v = 0; v < size; ++v) out[v] = out[v] && bar_after(t, f, v) < t.bars;
        const int64_t left = t.length - 1 - f[F_tokens];
        if (t.length && left < t.most_needed)
            for (int64_t v = 0; v < size; ++v) out[v] &= t.needs[f[F_phase] * size + v] <= left;
        go_on(t, f, busy, out, scratch.data());
        const bool ends = f[F_phase] == NOTE && f[F_notes] == 1 && (!t.bars || bar_of(t, f) >= t.bars - 1);
        out[t.eos_id] = ends || !std::memchr(out, 1, size);
    }
    return -1;
}

// fields (b f), busy (b keys + 1), ids (b) -> fields, busy; returns the first row whose id does not exist, or -1
extern "C" int64_t advance(const Tables *tables, int64_t batch, const int64_t *fields, const int64_t *busy,
                        const int64_t *ids, int64_t *new_fields, int64_t *new_busy) {
    const Tables &t = *tables;
    const int64_t keys = t.keys + 1;
    for (int64_t b = 0; b < batch; ++b)
        if (ids[b] < 0 || ids[b] >= t.size) return b;
    std::memcpy(new_busy, busy, batch * keys * sizeof(int64_t));
    for (int64_t b = 0; b < batch; ++b, fields += FIELDS, new_fields += FIELDS, new_busy += keys) {
        play(t, fields, ids[b], new_fields, new_busy);
    }
    return -1;
}
