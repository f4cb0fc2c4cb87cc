#include "data/label_table.h"

#include "tests/data/npy_files.h"

using namespace duet::data;
using namespace duet::test;

namespace {

using Names = std::vector<std::string>;
using Numbers = std::vector<int64_t>;

const Names kIds = {"clip a", "clip,b", "c"};

LabelColumn table(const std::string& content, char separator = ',') {
  return parse_label_table(content, separator, "labels.csv", std::nullopt);
}
LabelColumn table_of_ids(const std::string& content) { return parse_label_table(content, ',', "labels.csv", kIds); }

void refused(const std::string& content, const std::vector<std::string>& parts, bool ids = false) {
  check_refused([&] { ids ? table_of_ids(content) : table(content); }, DUET_STATUS_INVALID_ARGUMENT, parts);
}

}  // namespace

TEST_CASE("label table: numbers and names, in any order") {
  CHECK(table("id,label\n1,7\n0,-1\n2,\n").numbers == Numbers{-1, 7, -1});
  CHECK(table("id,label\n0,dog\n2,cat\n1,\n").names == Names{"dog", "", "cat"});
  CHECK_FALSE(table("id,label\n0,dog\n1,1\n").numbers.has_value());
  CHECK_FALSE(table("id,label\n0,01\n").numbers.has_value());  // a number that would not be written so is a name
  CHECK(table_of_ids("id,label\nc,3\nclip a,1\n\"clip,b\",2\n").numbers == Numbers{1, 2, 3});
}

TEST_CASE("label table: forms of RFC 4180 and of tabs") {
  CHECK(table("\xEF\xBB\xBFid,label\r\n0,\"a \"\"b\"\",\nc\"\r\n\r\n1,x").names == Names{"a \"b\",\nc", "x"});
  CHECK(table("note,label,id\nfirst,a,0\n,b,1\n").names == Names{"a", "b"});
  CHECK(table("id\tlabel\n0\t\"a\"\n1\tb,c\n", '\t').names == Names{"\"a\"", "b,c"});
}

TEST_CASE("label table: unknown, repeated and missing ids are named") {
  refused("id,label\n0,a\n0,b\n", {"labels.csv: lines 2 and 3: id '0' is repeated"});
  refused("id,label\n0,a\n2,b\n", {"labels.csv: id '1' is missing"});
  refused("id,label\n-1,a\n", {"labels.csv: line 2: unknown id '-1'; expected the number of a row"});
  refused("id,label\nx,a\n", {"line 2: unknown id 'x'"});
  refused("id,label\nclip a,1\nclip z,2\n", {"labels.csv: line 3: unknown id 'clip z'; expected a line of ids.txt"},
          true);
  refused("id,label\nc,1\nclip a,1\n", {"labels.csv: id 'clip,b' is missing"}, true);
  refused("id,label\nc,1\nc,1\n", {"lines 2 and 3: id 'c' is repeated"}, true);
}

TEST_CASE("label table: what is no table") {
  refused("", {"labels.csv: empty; expected a first line 'id,label'"});
  refused("0,a\n", {"labels.csv: line 1 names no column 'id'; expected id and label"});
  refused("id,class\n", {"names no column 'label'"});
  refused("id,label,id\n", {"names the column id twice"});
  refused("id,label\n", {"labels.csv: no rows"});
  refused("id,label\n0\n", {"labels.csv: line 2 has 1 cells; expected 2 as in line 1"});
  refused("id,label\n0,\"a\n", {"line 2: a quote that is not closed"});
  refused("id,label\n0,\"a\"b\n", {"line 2: text after a closing quote"});
  refused("id,label\n0,\xff\n", {"line 2: the label '\\xff' is no UTF-8"});
}

TEST_CASE("ids.txt: a line a row") {
  CHECK(parse_ids("a\nb c\r\nd", "ids.txt") == Names{"a", "b c", "d"});
  const auto wrong = [](const std::string& content, const std::vector<std::string>& parts) {
    check_refused([&] { parse_ids(content, "ids.txt"); }, DUET_STATUS_INVALID_ARGUMENT, parts);
  };
  wrong("", {"ids.txt: no ids"});
  wrong("a\n\nb\n", {"ids.txt: line 2 is empty"});
  wrong("a\nb\na\n", {"ids.txt: lines 1 and 3 are both 'a'"});
}
