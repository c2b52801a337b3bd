"""The report: self-contained, the same every time, and whatever the names are."""

from html.parser import HTMLParser

from bittern.gen.cost import KINDS
from bittern.gen.report import report

KIND = dict.fromkeys(KINDS, 3)
LAYER = {"layer": "a<b", "kind": "Dense", "how": "ternary", "shape": [2, 3], "lo": -1, "hi": 1,
         "bits": 2, "macs": 6, "weight_bytes": 2, "pe": 1, "simd": 1, "cycles": 6,
         "multipliers": 1, "busy": 0.75,
         **{f"estimated_{kind}": 2 for kind in KINDS}}
PORT = {"features": 6, "vectors": 1, "lanes": 1, "width": 2, "signed": True, "transfers": 6}
FRAME = {"shape": [6], "lo": -1, "hi": 1, "stands_for": None}
MANIFEST = {
    "bittern": "0", "name": "net & co", "target": {"name": "Board"}, "fps": None,
    "identity": "00", "bitstream_sha256": "00", "model": {"file": "m.onnx", "sha256": "00"},
    "verilog": {"file": "m.v", "top": "m", "sha256": "00"}, "versions": {"numpy": "2"},
    "frames": {"input": FRAME, "output": FRAME},
    "plan": {"layers": [LAYER], "input": PORT, "output": PORT,
             "predicted_cycles_per_inference": 6, "predicted_latency_cycles": 9,
             "multipliers": 1, "busy": 0.75},
    "result": {
        "layers": {"a<b": KIND}, "fmax_mhz": 50.0, "clock_mhz": 48.0, "wanted_mhz": 48.0,
        "inferences_per_second": 8e6, "uart_inferences_per_second": 9.0, "latency_us": 0.2,
        "baud": 9600, "bitstream": "m.bin", "seed": 1, "tools": {"yosys": "1"},
        **dict.fromkeys(KINDS, 5), **{f"available_{kind}": 9 * (kind != "spram") for kind in KINDS},
        **{f"estimated_{kind}": 2 for kind in KINDS}}}


class Reader(HTMLParser):
    """Collects what an HTML file refers to, and its open tags."""

    def __init__(self):
        super().__init__()
        self.links, self.open, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ("href", "src", "xlink:href")]
        if tag not in ("meta", "br", "path", "use", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("path", "use", "rect"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_report_is_one_whole_file_the_same_every_time():
    page = report(MANIFEST)
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    assert all(link.startswith("#") for link in reader.links)
    assert page.count("<svg") == 2
    assert "net & co on Board" in reader.text
    assert "a<b" in reader.text
    assert "SPRAM" not in reader.text
    assert "busy in 75.0 % of the cycles" in reader.text
    assert page == report(MANIFEST)
