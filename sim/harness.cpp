// Drives a verilated design with streams `i` and `o`: what cocotb_stream.py does, a hundred times
// as fast. Both have to agree on every cycle of the pass without stalls.
//
//   simulate INPUTS LOAD RESULTS INPUT_BITS INPUTS OUTPUT_BITS OUTPUTS SEED STALL LIMIT
//
// INPUTS holds the payloads, each in whole little-endian 32-bit words. LOAD holds the bytes for the
// stream `load`, which come first, if the design has it. RESULTS gets, for the pass
// without stalls and the one with them, the cycle of the first input transfer and of each output
// transfer (64 bits each), then the output payloads.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

namespace {

// Verilator writes the two underscores of i__payload as ___05F.
using Words = std::vector<uint32_t>;

constexpr uint64_t AFTERWARDS = 64;  // cycles watched for surplus transfers

template <class Port> void put(Port& port, const uint32_t* words) {
    port = static_cast<Port>(words[0]);
    if constexpr (sizeof(Port) == 8) port |= static_cast<Port>(words[1]) << 32;
}
template <std::size_t N> void put(VlWide<N>& port, const uint32_t* words) {
    std::memcpy(port.data(), words, 4 * N);
}
template <class Port> void get(const Port& port, uint32_t* words) {
    words[0] = static_cast<uint32_t>(port);
    if constexpr (sizeof(Port) == 8) words[1] = static_cast<uint32_t>(port >> 32);
}
template <std::size_t N> void get(const VlWide<N>& port, uint32_t* words) {
    std::memcpy(words, port.data(), 4 * N);
}

// The stream `load`, where there is one.
template <class Top>
auto offer(Top* top, bool valid, uint8_t byte) -> decltype(void(top->load___05Fvalid)) {
    top->load___05Fvalid = valid;
    top->load___05Fpayload = byte;
}
void offer(...) {}
template <class Top> auto accepts(Top* top) -> decltype(top->load___05Fready, true) {
    return top->load___05Fready;
}
bool accepts(...) { return false; }

struct Random {  // xorshift64*
    uint64_t state;
    uint32_t next() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return static_cast<uint32_t>(state * 0x2545F4914F6CDD1DULL >> 32);
    }
};

[[noreturn]] void fail(uint64_t transfer, uint64_t cycle, const char* why) {
    std::printf("AssertionError: output transfer %llu, cycle %llu: %s\n",
                static_cast<unsigned long long>(transfer), static_cast<unsigned long long>(cycle),
                why);
    std::exit(1);
}

struct Bench {
    std::unique_ptr<Vtop> top{new Vtop};
    std::size_t input_bits, inputs, output_words, outputs;
    uint64_t limit;
    Words given;
    std::vector<uint8_t> image;
    Random random;

    void edge() {  // the inputs have settled before
        top->clk = 1;
        top->eval();
        top->clk = 0;
    }

    void reset() {
        top->clk = top->i___05Fvalid = top->o___05Fready = 0;
        offer(top.get(), false, 0);
        for (int level : {0, 1, 1, 0}) {
            top->rst = level;
            top->eval();
            edge();
        }
    }

    void load(uint32_t stall) {
        std::size_t sent = 0;
        for (uint64_t waits = 0; sent < image.size(); ++waits) {
            const bool offered = !stall || random.next() >= stall;
            offer(top.get(), offered, offered ? image[sent] : random.next());
            top->eval();
            if (offered && accepts(top.get())) {
                ++sent;
                waits = 0;
            }
            edge();
            if (waits >= limit) {
                std::printf("AssertionError: %zu of %zu bytes were taken from `load`\n", sent,
                            image.size());
                std::exit(1);
            }
        }
        offer(top.get(), false, 0);
    }

    void run(uint32_t stall, std::FILE* results) {
        const std::size_t input_words = (input_bits + 31) / 32;
        const uint32_t top_mask = ~0u >> (31 - (input_bits - 1) % 32);
        Words garbage(input_words), payload(output_words), held(output_words), taken;
        std::vector<uint64_t> stamps{0};
        std::size_t sent = 0, done = 0;
        uint64_t now = 0, last = 0;
        bool offered = false, holding = false, seen = false;
        const auto stalls = [&] { return stall && random.next() < stall; };
        while (true) {
            if (!offered) {
                offered = sent < inputs && !stalls();
                if (offered) {
                    put(top->i___05Fpayload, &given[sent * input_words]);
                } else {  // nobody may look at a payload that is not valid
                    for (uint32_t& word : garbage) word = random.next();
                    garbage.back() &= top_mask;
                    put(top->i___05Fpayload, garbage.data());
                }
            }
            top->i___05Fvalid = offered;
            // waiting for the first one uncovers designs that wait for `ready` to be `valid`
            const bool ready = !stall || (seen && !stalls());
            top->o___05Fready = ready;
            top->eval();
            const bool accepted = offered && top->i___05Fready, valid = top->o___05Fvalid;
            if (valid) get(top->o___05Fpayload, payload.data());
            edge();
            ++now;

            if (accepted) {
                if (sent++ == 0) stamps[0] = now;
                offered = false;
                last = now;
            }
            if (holding && !valid) fail(done, now, "valid withdrawn while stalled");
            if (holding && payload != held) fail(done, now, "payload changed while stalled");
            holding = valid && !ready;
            if (valid) {
                if (done == outputs) fail(done, now, "comes after all transfers expected");
                seen = true;
                held = payload;
                if (ready) {
                    ++done;
                    last = now;
                    taken.insert(taken.end(), payload.begin(), payload.end());
                    stamps.push_back(now);
                    if (done % (outputs / 20 + 1) == 0) {
                        std::printf("progress %zu %zu\n", done, outputs);
                        std::fflush(stdout);
                    }
                }
            }
            if (sent == inputs && done == outputs) {
                if (now - last >= AFTERWARDS) break;
            } else if (now - last >= limit) {
                std::printf("AssertionError: no transfer for %llu cycles: %zu of %zu input "
                            "transfers were taken, %zu of %zu output transfers were given\n",
                            static_cast<unsigned long long>(limit), sent, inputs, done, outputs);
                std::exit(1);
            }
        }
        std::fwrite(stamps.data(), 8, stamps.size(), results);
        std::fwrite(taken.data(), 4, taken.size(), results);
    }
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 11) return 2;
    const auto number = [&](int k) { return std::strtoull(argv[k], nullptr, 10); };
    Bench bench;
    bench.input_bits = number(4);
    bench.inputs = number(5);
    bench.output_words = (number(6) + 31) / 32;
    bench.outputs = number(7);
    bench.random.state = (number(8) + 1) * 0x9E3779B97F4A7C15ULL | 1;  // never 0
    bench.limit = number(10);
    bench.given.resize((bench.input_bits + 31) / 32 * bench.inputs);
    std::FILE* inputs = std::fopen(argv[1], "rb");
    if (!inputs || std::fread(bench.given.data(), 4, bench.given.size(), inputs)
                       != bench.given.size()) return 2;
    std::fclose(inputs);
    std::FILE* load = std::fopen(argv[2], "rb");
    if (!load) return 2;
    for (int byte; (byte = std::getc(load)) != EOF;) bench.image.push_back(byte);
    std::fclose(load);
    std::FILE* results = std::fopen(argv[3], "wb");
    if (!results) return 2;
    for (const double stall : {0.0, std::atof(argv[9])}) {
        const auto threshold = static_cast<uint32_t>(stall * 4294967295.0);
        bench.reset();
        bench.load(threshold);
        bench.run(threshold, results);
    }
    return std::fclose(results) ? 2 : 0;
}
