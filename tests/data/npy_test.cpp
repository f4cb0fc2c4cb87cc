#include "data/npy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "data/feature_source.h"
#include "data/labels.h"
#include "runtime/files/file_bytes.h"
#include "tests/data/npy_files.h"
#include "tests/data/sources.h"

using namespace duet::data;
using namespace duet::test;

namespace {

Features features_in(const std::string& file) { return read_features(parse_npy(bytes_of(file), "x.npy")); }
std::vector<int64_t> labels_in(const std::string& file) { return read_labels(parse_npy(bytes_of(file), "y.npy")); }

void check_features_refused(const std::string& file, const std::vector<std::string>& parts) {
  check_refused([&] { features_in(file); }, DUET_STATUS_INVALID_ARGUMENT, parts);
}
void check_labels_refused(const std::string& file, const std::vector<std::string>& parts) {
  check_refused([&] { labels_in(file); }, DUET_STATUS_INVALID_ARGUMENT, parts);
}

const std::string kSix = raw(std::vector<float>{0, 1, 2, 3, 4, 5});

}  // namespace

TEST_CASE("npy reads every dtype in every version") {
  const std::vector<float> expected = {0, 1, 2, 3, 4, 250};
  const std::vector<std::pair<std::string, std::string>> files = {
      {"<f2", raw(std::vector<uint16_t>{0x0000, 0x3C00, 0x4000, 0x4200, 0x4400, 0x5BD0})},
      {"<f4", raw(std::vector<float>{0, 1, 2, 3, 4, 250})},
      {"<f8", raw(std::vector<double>{0, 1, 2, 3, 4, 250})},
      {"|u1", raw(std::vector<uint8_t>{0, 1, 2, 3, 4, 250})},
      {"<i2", raw(std::vector<int16_t>{0, 1, 2, 3, 4, 250})},
      {"<u2", raw(std::vector<uint16_t>{0, 1, 2, 3, 4, 250})},
      {"<i4", raw(std::vector<int32_t>{0, 1, 2, 3, 4, 250})},
      {"<u4", raw(std::vector<uint32_t>{0, 1, 2, 3, 4, 250})},
      {"<i8", raw(std::vector<int64_t>{0, 1, 2, 3, 4, 250})},
      {"<u8", raw(std::vector<uint64_t>{0, 1, 2, 3, 4, 250})},
  };
  for (const int version : {1, 2, 3})
    for (const auto& file : files) {
      const auto& descr = file.first;
      const auto& values = file.second;
      CAPTURE(version);
      CAPTURE(descr);
      const Features x = features_in(npy(descr, "(3, 2)", values, version));
      CHECK(x.rows == 3);
      CHECK(x.columns == 2);
      CHECK(x.values == expected);
      CHECK(labels_in(npy(descr, "(6,)", values, version)) == std::vector<int64_t>{0, 1, 2, 3, 4, 250});
    }
  CHECK(features_in(npy("|i1", "(1, 2)", raw(std::vector<int8_t>{-128, 127}))).values == std::vector<float>{-128, 127});
}

TEST_CASE("npy float16 is exact for every finite half") {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const uint32_t exponent = half >> 10 & 31, fraction = half & 1023;
    const std::string file = npy("<f2", "(1, 1)", raw(std::vector<uint16_t>{static_cast<uint16_t>(half)}));
    if (exponent == 31) {
      if (fraction < 3) check_features_refused(file, {"x.npy: row 0, column 0 is ", "finite"});
      continue;
    }
    const double size =
        exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25);
    const float value = features_in(file).values[0];
    if (value != static_cast<float>(half & 0x8000 ? -size : size) || std::signbit(value) != (half >= 0x8000))
      FAIL("half ", half, " reads as ", value);
  }
}

TEST_CASE("npy headers may be written in other ways") {
  CHECK(features_in(npy_with_header(1, "{\"shape\":(3,2),\"fortran_order\":False,\"descr\":\"<f4\"}", kSix)).rows == 3);
  CHECK(features_in(
            npy_with_header(1, "  { 'descr' : '=f4' , 'fortran_order' : False , 'shape' : ( 3 , 2 , ) } \n", kSix))
            .rows == 3);
  CHECK(features_in(npy("<f4", "(3, 2)", kSix + "more")).rows == 3);
  // In one dimension both orders are the same.
  CHECK(
      labels_in(npy_with_header(1, "{'descr': '|u1', 'fortran_order': True, 'shape': (2,), }", std::string("\x03\x04")))
          .size() == 2);
}

TEST_CASE("npy reads Fortran order") {
  const auto file = npy_with_header(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }", kSix);
  const Features x = read_features(parse_npy(bytes_of(file), "x.npy"));
  CHECK(x.rows == 3);
  CHECK(x.values == std::vector<float>{0, 3, 1, 4, 2, 5});
}

TEST_CASE("npy reads both byte orders and truth values") {
  const auto swapped = [](std::string values, size_t each) {
    for (size_t at = 0; at < values.size(); at += each)
      std::reverse(values.begin() + static_cast<std::ptrdiff_t>(at),
                   values.begin() + static_cast<std::ptrdiff_t>(at + each));
    return values;
  };
  const std::vector<float> expected = {0, 1, 2, 3, 4, 250};
  CHECK(features_in(npy(">f2", "(3, 2)",
                        swapped(raw(std::vector<uint16_t>{0x0000, 0x3C00, 0x4000, 0x4200, 0x4400, 0x5BD0}), 2)))
            .values == expected);
  CHECK(features_in(npy(">f4", "(3, 2)", swapped(raw(std::vector<float>{0, 1, 2, 3, 4, 250}), 4))).values == expected);
  CHECK(features_in(npy(">f8", "(3, 2)", swapped(raw(std::vector<double>{0, 1, 2, 3, 4, 250}), 8))).values == expected);
  CHECK(features_in(npy(">i2", "(3, 2)", swapped(raw(std::vector<int16_t>{0, 1, 2, 3, 4, 250}), 2))).values ==
        expected);
  CHECK(features_in(npy(">u4", "(3, 2)", swapped(raw(std::vector<uint32_t>{0, 1, 2, 3, 4, 250}), 4))).values ==
        expected);
  CHECK(features_in(npy(">i8", "(3, 2)", swapped(raw(std::vector<int64_t>{0, 1, 2, 3, 4, 250}), 8))).values ==
        expected);
  CHECK(features_in(npy(">u1", "(1, 2)", "\x01\x02")).values == std::vector<float>{1, 2});
  CHECK(features_in(npy("|b1", "(1, 2)", std::string("\x01\x00", 2))).values == std::vector<float>{1, 0});
  CHECK(labels_in(npy(">i4", "(2,)", swapped(raw(std::vector<int32_t>{-1, 7}), 4))) == std::vector<int64_t>{-1, 7});
}

TEST_CASE("npy strings of fixed width, and labels of one column") {
  const auto strings = [](const std::string& file) { return read_strings(parse_npy(bytes_of(file), "y.npy")); };
  const std::vector<std::string> expected = {"dog", "", "caf\xc3\xa9 \xf0\x9f\x90\x88"};
  const std::vector<uint32_t> utf32 = {'d', 'o', 'g', 0, 0, 0, 0, 0, 0, 0, 0, 0, 'c', 'a', 'f', 0xE9, ' ', 0x1F408};
  CHECK(strings(npy("<U6", "(3,)", raw(utf32))) == expected);
  std::vector<uint32_t> big = utf32;
  for (uint32_t& word : big) word = __builtin_bswap32(word);
  CHECK(strings(npy(">U6", "(3, 1)", raw(big))) == expected);
  CHECK(strings(npy("|S3", "(2,)", std::string("dogab\0", 6))) == std::vector<std::string>{"dog", "ab"});
  CHECK(strings(npy("|S0", "(2,)", "")) == std::vector<std::string>{"", ""});
  CHECK(strings(npy("<U0", "(1048576,)", "")).size() == 1048576);
  const auto refused = [&](const std::string& file, const std::vector<std::string>& parts) {
    check_refused([&] { strings(file); }, DUET_STATUS_INVALID_ARGUMENT, parts);
  };
  refused(npy("<U1", "(1,)", raw(std::vector<uint32_t>{0x110000})), {"y.npy: a string holds the character 1114112"});
  refused(npy("<i4", "(1,)", raw(std::vector<int32_t>{1})), {"y.npy: numbers; expected strings"});
  refused(npy("|S1", "(1, 2)", "ab"), {"y.npy: shape (1, 2); expected strings of one dimension"});
  check_labels_refused(npy("|S1", "(1,)", "a"), {"y.npy: strings; expected numbers"});
  for (const char* const shape : {"(1048577,)", "(687399551400673270,)", "(0, 687399551400673270)"}) {
    refused(npy("<U0", shape, ""), {"y.npy: shape (", "has no bytes"});
    check_labels_refused(npy("<U0", shape, ""), {"has no bytes"});
  }
  check_features_refused(npy("<f4", "(687399551400673270, 0)", ""), {"has no bytes"});
  check_features_refused(npy("|S1", "(1, 1)", "a"), {"x.npy: strings; expected features"});
  check_features_refused(npy("<U99999999", "(1, 1)", "a"), {"dtype '<U99999999'"});
  CHECK(labels_in(npy("<i8", "(2, 1)", raw(std::vector<int64_t>{5, -1}))) == std::vector<int64_t>{5, -1});
}

TEST_CASE("npy refuses what it cannot read") {
  check_features_refused("", {"x.npy: not a .npy file"});
  check_features_refused("PK\x03\x04 an archive", {"x.npy: not a .npy file"});
  check_features_refused(std::string("\x93NUMPY\x01", 7), {"truncated inside the .npy header"});
  check_features_refused(npy("<f4", "(3, 2)", kSix, 4), {".npy version 4.0", "expected 1, 2 or 3"});
  check_features_refused(std::string("\x93NUMPY\x01\x00\xff\x7f{}", 12),
                         {"header is said to be 32767 bytes long, but only 2 follow"});
  check_features_refused(std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff{}", 14), {"4294967295 bytes long"});
  check_features_refused(npy("|O", "(3, 2)", kSix),
                         {"object dtype '|O'", "(save x.astype(numpy.float32), or numpy.int64 for labels)"});
  for (const std::string bfloat16 : {"<V2", "|V2"})
    check_features_refused(
        npy(bfloat16, "(3, 2)", kSix),
        {"x.npy: dtype '" + bfloat16 + "'", "bfloat16 as ml_dtypes saves it: save x.astype(numpy.float32)"});
  for (const std::string small : {"<f1", "|f1", "<V1", "|V1"})
    check_features_refused(
        npy(small, "(3, 2)", kSix),
        {"x.npy: dtype '" + small + "'", "8-bit float as ml_dtypes saves it: save x.astype(numpy.float32)"});
  check_features_refused(npy("<f16", "(3, 2)", kSix), {"dtype '<f16'", "save x.astype(numpy.float32)"});
  check_features_refused(npy("<U8", "(3, 2)", kSix), {"truncated", "of '<U8' needs 192 bytes"});
  check_features_refused(npy("<c8", "(3, 2)", kSix), {"dtype '<c8'"});
  check_features_refused(npy("", "(3, 2)", kSix), {"dtype ''"});
  check_features_refused(
      npy_with_header(1, "{'descr': [('a', '<f4'), ('b', '<f4')], 'fortran_order': False, 'shape': (3,), }", kSix),
      {"structured dtype [('a', '<f4'), ('b', '<f4')]", "(save its columns as one array of numpy.float32)"});
  check_features_refused(npy("<f4", "(3, 3)", kSix),
                         {"truncated: shape (3, 3) of '<f4' needs 36 bytes of values, 24 are there"});
  check_features_refused(npy("<f4", "(4611686018427387904, 4611686018427387904)", kSix), {"beyond 2^63 bytes"});
  check_features_refused(npy("<f4", "(99999999999999999999, 1)", kSix), {"'shape' beyond 2^63"});
  check_features_refused(npy("<f4", "(6,)", kSix), {"x.npy: shape (6,)", "two dimensions"});
  check_features_refused(npy("<f4", "()", kSix), {"shape ()", "two dimensions"});
  check_features_refused(npy("<f4", "(0, 2)", ""), {"shape (0, 2)", "at least one row"});
  check_features_refused(npy("<f4", "(2, 0)", ""), {"shape (2, 0)", "one column"});
}

TEST_CASE("npy refuses damaged headers") {
  const auto header = [](const std::string& text) { return npy_with_header(1, text, kSix); };
  check_features_refused(header(""), {"x.npy: the .npy header has no '{'"});
  check_features_refused(header("{'descr': '<f4', 'fortran_order': False}"), {"no key 'shape'"});
  check_features_refused(header("{'fortran_order': False, 'shape': (3, 2)}"), {"no key 'descr'"});
  check_features_refused(header("{'descr': '<f4', 'shape': (3, 2)}"), {"no key 'fortran_order'"});
  check_features_refused(header("{'descr': '<f4', 'fortran_order': 0, 'shape': (3, 2)}"), {"neither True nor False"});
  check_features_refused(header("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 2)}"),
                         {"not a tuple of whole numbers"});
  check_features_refused(header("{'descr': '<f4', 'fortran_order': False, 'shape': (3.5, 2)}"),
                         {"not a tuple of whole numbers"});
  check_features_refused(header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)} x"),
                         {"after the closing '}'"});
  check_features_refused(header("{'descr': '<f4, 'fortran_order': False}"), {"x.npy: the .npy header has"});
  check_features_refused(header("{'other\n\x01': 1}"), {"key 'other..'"});
  check_features_refused(header("{'descr': '<f4', 'descr': '<f4'}"), {"key 'descr'"});
  check_features_refused(header("{'descr': [('a', "), {"'[' that is not closed"});
}

TEST_CASE("npy refuses features that are not finite") {
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  check_features_refused(npy("<f8", "(2, 3)", raw(std::vector<double>{0, 1, 2, 3, nan, 5})),
                         {"x.npy: row 1, column 1 is nan", "finite"});
  check_features_refused(npy("<f8", "(2, 3)", raw(std::vector<double>{0, 1, -infinity, 3, nan, 5})),
                         {"x.npy: row 0, column 2 is -inf"});
  check_features_refused(npy("<f8", "(1, 1)", raw(std::vector<double>{1e39})),
                         {"row 0, column 0 is 1e+39", "finite in float32"});
  check_features_refused(npy("<f8", "(1, 1)", raw(std::vector<double>{-1e300})),
                         {"row 0, column 0 is -1e+300", "at most 9.7"});
}

TEST_CASE("npy labels are any whole number of 64 bits") {
  constexpr int64_t kLow = std::numeric_limits<int64_t>::min(), kHigh = std::numeric_limits<int64_t>::max();
  const std::vector<int64_t> wide = {-1, 0, 65536, kLow, kHigh, 1'000'000'000'000 - 7};
  CHECK(labels_in(npy("<i8", "(6,)", raw(wide))) == wide);
  CHECK(labels_in(npy("|i1", "(2,)", raw(std::vector<int8_t>{-1, -128}))) == std::vector<int64_t>{-1, -128});
  CHECK(labels_in(npy("<u4", "(1,)", raw(std::vector<uint32_t>{4294967295}))) == std::vector<int64_t>{4294967295});
  CHECK(labels_in(npy("<u8", "(1,)", raw(std::vector<uint64_t>{uint64_t{kHigh}}))) == std::vector<int64_t>{kHigh});
  check_labels_refused(npy("<u8", "(2,)", raw(std::vector<uint64_t>{0, uint64_t{1} << 63})),
                       {"row 1 is 9223372036854775808", "below 2^63"});
  // A float of 24 bits holds every whole number below 2^24; from there on two labels may have become one.
  CHECK(labels_in(npy("<f4", "(2,)", raw(std::vector<float>{-1, 16777215}))) == std::vector<int64_t>{-1, 16777215});
  check_labels_refused(npy("<f4", "(1,)", raw(std::vector<float>{16777216})),
                       {"y.npy: row 0 is 1.67772e+07", "below 16777216"});
  CHECK(labels_in(npy("<f8", "(1,)", raw(std::vector<double>{-0x1.fffffffffffffp52}))) ==
        std::vector<int64_t>{-((int64_t{1} << 53) - 1)});
  check_labels_refused(npy("<f8", "(1,)", raw(std::vector<double>{0x1p53})),
                       {"row 0 is 9.0072e+15", "below 9007199254740992"});
  check_labels_refused(npy("<f4", "(2,)", raw(std::vector<float>{1, 2.5f})), {"row 1 is 2.5", "whole number"});
  check_labels_refused(npy("<f8", "(1,)", raw(std::vector<double>{std::nan("")})), {"row 0 is nan"});
  check_labels_refused(npy("<f8", "(1,)", raw(std::vector<double>{1e30})), {"row 0 is 1e+30"});
  check_labels_refused(npy("<i8", "(1, 2)", raw(std::vector<int64_t>{0, 1})), {"y.npy: shape (1, 2)", "one dimension"});
  check_labels_refused(npy("<i8", "(0,)", ""), {"y.npy: no rows"});
}

TEST_CASE("a source reads the file's own values in float64") {
  const auto row = [](const FeatureSource& source, int64_t i) {
    std::vector<double> out(static_cast<size_t>(source.columns()));
    source.read_row(i, out);
    return out;
  };
  const std::vector<double> doubles = {1e8 + 1e-8, -1e9, 1e39, 1e-300};
  CHECK(row(source_of(doubles, 2), 0) == std::vector<double>{1e8 + 1e-8, -1e9});
  CHECK(row(source_of(doubles, 2), 1) == std::vector<double>{1e39, 1e-300});
  const std::vector<int64_t> integers = {1'000'000'000'001, -3};
  CHECK(row(source_of(integers, 2), 0) == std::vector<double>{1e12 + 1, -3});
  CHECK(source_of(doubles, 2).rounding() == 0x1p-53);
  CHECK(source_of(std::vector<float>{1}, 1).rounding() == 0x1p-24);
  CHECK(source_of(std::vector<uint16_t>{0x3C00}, 1).rounding() == 0x1p-11);
  CHECK(source_of(integers, 2).rounding() == 0);
  const std::string fortran = npy_with_header(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }", kSix);
  CHECK(row(FeatureSource({nullptr, parse_npy(bytes_of(fortran), "x.npy")}), 1) == std::vector<double>{1, 4});
  const std::vector<double> broken = {0, std::nan(""), 0x1p961, 0};
  check_refused([&] { row(source_of(broken, 2), 0); }, DUET_STATUS_INVALID_ARGUMENT,
                {"x.npy: row 0, column 1 is nan", "finite"});
  check_refused([&] { row(source_of(broken, 2), 1); }, DUET_STATUS_INVALID_ARGUMENT,
                {"x.npy: row 1, column 0 is 1.9", "at most 9.7"});
}

TEST_CASE("a source pools all axes between rows and columns, in either order") {
  // Row i, place (a, b), column k is 1000 i + 100 a + 10 b + k.
  for (const bool fortran : {false, true}) {
    std::vector<float> values(2 * 2 * 3 * 2);
    for (int i = 0; i < 2; ++i)
      for (int a = 0; a < 2; ++a)
        for (int b = 0; b < 3; ++b)
          for (int k = 0; k < 2; ++k)
            values[static_cast<size_t>(fortran ? i + 2 * (a + 2 * (b + 3 * k)) : k + 2 * (b + 3 * (a + 2 * i)))] =
                static_cast<float>(1000 * i + 100 * a + 10 * b + k);
    const auto row = [&](Pooling pooling) {
      const FeatureSource source(
          {nullptr, {"x", ElementType::f4, {2, 2, 3, 2}, fortran, std::as_bytes(std::span(values))}}, pooling);
      std::vector<double> out(static_cast<size_t>(source.columns()));
      source.read_row(1, out);
      return std::pair(out, source.pooled());
    };
    CHECK(row(Pooling::mean) == std::pair(std::vector<double>{1060, 1061}, std::string("mean over 2 x 3 places")));
    CHECK(row(Pooling::max) == std::pair(std::vector<double>{1120, 1121}, std::string("max over 2 x 3 places")));
    CHECK(row(Pooling::first).first == std::vector<double>{1000, 1001});
    if (fortran)
      check_refused([&] { row(Pooling::flatten); }, DUET_STATUS_INVALID_ARGUMENT, {"x: shape (2, 2, 3, 2) in Fortran"});
    else
      CHECK(row(Pooling::flatten).first ==
            std::vector<double>{1000, 1001, 1010, 1011, 1020, 1021, 1100, 1101, 1110, 1111, 1120, 1121});
    values[0] = std::numeric_limits<float>::infinity();  // of row 0
    CHECK(row(Pooling::mean).first == std::vector<double>{1060, 1061});
  }
}

TEST_CASE("npy survives truncation at every length and every damaged byte") {
  for (const int version : {1, 2, 3}) {
    const std::string whole = npy("<f4", "(3, 2)", kSix, version);
    for (size_t length = 0; length < whole.size(); ++length) {
      // A copy of exactly this length, so that a sanitizer sees a read past its end.
      const std::vector<char> part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
      CAPTURE(length);
      check_refused([&] { read_features(parse_npy(std::as_bytes(std::span(part)), "part.npy")); },
                    DUET_STATUS_INVALID_ARGUMENT, {"part.npy: "});
    }
    for (size_t at = 0; at < whole.size(); ++at)
      for (int value = 0; value < 256; ++value) {
        std::vector<char> damaged(whole.begin(), whole.end());
        damaged[at] = static_cast<char>(value);
        try {
          read_features(parse_npy(std::as_bytes(std::span(damaged)), "damaged.npy"));
        } catch (const duet::Error& error) {
          if (std::string(error.what()).rfind("damaged.npy: ", 0) != 0) FAIL(error.what());
        }
      }
  }
}

TEST_CASE("a file that is truncated after it was opened is still all there") {
  const Folder folder;
  const std::string content(100'000, 'x');
  const auto path = folder.write("file", content);
  const duet::FileBytes file(path);
  std::filesystem::resize_file(path, 0);  // a page of a mapped file would now end the program
  CHECK(std::memcmp(file.bytes().data(), content.data(), content.size()) == 0);
  CHECK(file.bytes().size() == content.size());
  CHECK(duet::FileBytes(path).bytes().empty());
}

TEST_CASE("npy files: what the system refuses, and a round trip") {
  const Folder folder;
  check_refused([&] { read_features(folder.path() / "absent.npy"); }, DUET_STATUS_IO_ERROR,
                {"absent.npy: No such file or directory"});
  check_refused([&] { read_features(folder.path()); }, DUET_STATUS_IO_ERROR,
                {folder.path().string(), "Is a directory"});
  check_refused([&] { read_features(folder.write("empty.npy", "")); }, DUET_STATUS_INVALID_ARGUMENT,
                {"empty.npy: not a .npy file"});

  Features x(3, 5);
  for (size_t k = 0; k < x.values.size(); ++k) x.values[k] = static_cast<float>(std::sin(static_cast<double>(k)));
  const std::string header = features_header(x);
  CHECK(header.size() == 128);  // values start at a multiple of 64
  const Features back = read_features(folder.write("x.npy", header + raw(x.values)));
  CHECK(back.rows == 3);
  CHECK(back.columns == 5);
  CHECK(back.values == x.values);
  const std::vector<int64_t> wide = {int64_t{1} << 62, -1, -7};
  CHECK(read_labels(folder.write("y.npy", npy("<i8", "(3,)", raw(wide)))) == wide);
}
