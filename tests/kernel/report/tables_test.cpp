#include "kernel/report/tables.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "kernel/report/markdown_text.h"
#include "kernel/report/numbers.h"
#include "tests/kernel/report/fixture.h"

namespace colonnade::host {

TEST_CASE("Numbers for people have four significant digits, those for machines read back", "[report]") {
  CHECK(readable_number(0.99949999) == "0.9995");
  CHECK(readable_number(12.345678) == "12.35");
  CHECK(readable_number(3) == "3");
  CHECK(readable_number(-1234.56) == "-1235");
  CHECK(readable_number(123456789) == "123,456,789");
  CHECK(readable_number(-12345.6) == "-12,346");
  CHECK(readable_number(0.00012345) == "0.0001234");
  CHECK(readable_number(1.5e-7) == "1.500e-07");
  CHECK(readable_number(2.5e12) == "2.500e+12");
  CHECK(readable_number(0) == "0");
  CHECK(readable_number(std::nan("")) == "NaN");
  CHECK(readable_number(-INFINITY) == "-inf");
  for (const double number : {0.1, 1.0 / 3, 1e-300, 5e-324, 123456789.123})
    CHECK(std::strtod(exact_number(number).c_str(), nullptr) == number);
  CHECK(json_number(INFINITY) == "inf");
  CHECK(json_number(0.25) == 0.25);
  CHECK(readable_summary(summarise({1.0, 2.0, 3.0})) == "2 ± 2.5");
  CHECK(readable_summary(summarise({1.25})) == "1.250");
  CHECK(readable_summary(summarise({0.3, 0.1 + 0.2})) == "0.3000");  // apart by rounding
}

TEST_CASE("Tables on a terminal break between columns that do not fit", "[report]") {
  const TextTable table{{"arm", "perplexity ↓", "size", "answer"},
                        {{"base", "12.5 ± 0.1", "1", "yes"}, {"+λ", "9", "20,000", "no"}}};
  CHECK(as_text(table, 80) ==
        "arm   perplexity ↓    size  answer\n"
        "base    12.5 ± 0.1       1  yes\n"
        "+λ               9  20,000  no\n");
  CHECK(as_text(table, 20) ==
        "arm   perplexity ↓\n"
        "base    12.5 ± 0.1\n"
        "+λ               9\n"
        "\n"
        "arm     size  answer\n"
        "base       1  yes\n"
        "+λ    20,000  no\n");
}

TEST_CASE("CSV quotes what would break it", "[report]") {
  CHECK(as_csv({{"a,b", "c\"d"}, {{"line\nbreak", "plain"}}}) == "\"a,b\",\"c\"\"d\"\n\"line\nbreak\",plain\n");
}

TEST_CASE("Nothing in a user's text formats the Markdown around it", "[report]") {
  CHECK(as_markdown({{"a|b"}, {{"*x*_y_`z`\n<i>"}}}) == "| a\\|b |\n| --- |\n| \\*x\\*\\_y\\_\\`z\\` \\<i\\> |\n");
  CHECK(code_span("plain") == "`plain`");
  CHECK(code_span("a`b") == "``a`b``");
  CHECK(code_span("`a``") == "``` `a`` ```");
  CHECK(code_block("x\n```\ny") == "````\nx\n```\ny\n````\n");
}

TEST_CASE("An arm's cell says how many seeds it stands for where some are missing", "[report]") {
  const StudyResults results = small_results();
  const TextTable table = arms_table(results, {"nats", "drift"});
  CHECK(table.header == std::vector<std::string>{"arm", "nats ↓", "drift"});
  REQUIRE(table.rows.size() == 5);
  CHECK(table.rows[0][1].find("seeds") == std::string::npos);
  CHECK(table.rows[3][2].find("(2 of 3 seeds)") != std::string::npos);
  CHECK(table.rows[4][1] == "failed");
  const ArmTrials trials(results);
  CHECK(trials.metric_by_seed("both", "drift").size() == 2);
  CHECK(trials.metric_by_seed("base", "latency").size() == 3);
  CHECK(trials.metric_by_seed("no such arm", "nats").empty());
}

TEST_CASE("Under one seed a value stands with its own standard error", "[report]") {
  StudyResults results = small_results();
  std::erase_if(results.trials, [](const TrialResult& trial) { return trial.seed != 0; });
  results.trials[0].scalars["size.stored"].standard_error.reset();
  const TextTable table = arms_table(results, {"nats", "size.stored"});
  CHECK(table.rows[0] == std::vector<std::string>{"base", "2 ± 0.020", "1,250,000"});
  const std::string note = arms_table_note(results, {"nats"});
  CHECK(note.find("standard error") != std::string::npos);
  CHECK(note.find("↓") != std::string::npos);
  CHECK(arms_table_note(results, {"drift"}).find("↓") == std::string::npos);
  CHECK(arms_table_note(small_results(), {"nats"}).find("Mean over seeds") == 0);
}

TEST_CASE("Columns without a text are dropped", "[report]") {
  TextTable table{{"a", "b", "c"}, {{"1", "", "2"}, {"3", "", ""}}};
  drop_empty_columns(table);
  CHECK(table.header == std::vector<std::string>{"a", "c"});
  CHECK(table.rows[1] == std::vector<std::string>{"3", ""});
}

TEST_CASE("Tables of several seeds become one where only their reals differ", "[report]") {
  Table one, two, other;
  for (Table* table : {&one, &two, &other}) {
    table->add_column("site", "text");
    table->add_column("change", "real", "nats");
  }
  one.add_row({"x", 1.0});
  two.add_row({"x", 3.0});
  other.add_row({"y", 3.0});
  const auto together = readable_over_seeds({&one, &two}, 10);
  REQUIRE(together.has_value());
  CHECK(together->header == std::vector<std::string>{"site", "change (nats)"});
  CHECK(together->rows[0] == std::vector<std::string>{"x", "2 ± 13"});
  CHECK(readable_over_seeds({&one, &one}, 10)->rows[0][1] == "1");
  CHECK_FALSE(readable_over_seeds({&one, &other}, 10).has_value());
}

}  // namespace colonnade::host
