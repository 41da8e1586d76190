#include "facts.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "colonnade/error.h"

namespace colonnade::alphaedit {

namespace {

constexpr std::int64_t kBytes = 256;
const std::vector<std::string> kColumns = {"prompt", "subject", "target", "old", "paraphrase", "neighbour", "negation"};

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> cells;
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = line.find('\t', begin);
    cells.push_back(line.substr(begin, end - begin));
    if (end == std::string::npos) return cells;
    begin = end + 1;
  }
}

bool next_line(std::istream& in, std::string& line) {
  if (!std::getline(in, line)) return false;
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return true;
}

std::string joined(const std::string& prompt, const std::string& continuation) {
  const bool spaced = prompt.empty() || prompt.back() == ' ' || continuation.empty() || continuation.front() == ' ';
  return prompt + (spaced ? "" : " ") + continuation;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

double entropy_of_runs(const std::vector<std::string>& words, std::size_t length) {
  std::map<std::string, double> counts;
  double all = 0;
  for (std::size_t i = 0; i + length <= words.size(); ++i, ++all) {
    std::string run;
    for (std::size_t j = 0; j < length; ++j) run += words[i + j] + "\n";
    ++counts[run];
  }
  double bits = 0;
  for (const auto& [run, count] : counts) bits -= count / all * std::log2(count / all);
  return bits;
}

}  // namespace

Table read_facts(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw Error(ErrorKind::input, path + ": cannot be read; a file of facts has tab-separated columns");
  std::string line;
  next_line(in, line);
  const std::vector<std::string> header = split(line);
  const std::string allowed = "prompt, subject, target, old, paraphrase, neighbour, negation";
  Table table;
  for (const std::string& name : header) {
    if (std::find(kColumns.begin(), kColumns.end(), name) == kColumns.end()) {
      throw Error(ErrorKind::input, path + ":1: the header names a column '" + name + "'" +
                                        did_you_mean(name, kColumns) + "; allowed: " + allowed);
    }
    table.add_column(name, "text");
  }
  for (const char* needed : {"prompt", "target"}) {
    if (table.has_column(needed)) continue;
    throw Error(ErrorKind::input, path + ":1: the header names no column '" + needed + "'; allowed: " + allowed);
  }
  for (std::int64_t number = 2; next_line(in, line); ++number) {
    if (line.empty()) continue;
    const std::vector<std::string> cells = split(line);
    if (cells.size() != header.size()) {
      throw Error(ErrorKind::input, path + ":" + std::to_string(number) + ": " + std::to_string(cells.size()) +
                                        " columns, the header has " + std::to_string(header.size()));
    }
    table.add_row({cells.begin(), cells.end()});
  }
  return table;
}

std::vector<Fact> facts_from(const Field& field) {
  const Table table = table_from(field);
  std::vector<Fact> facts(table.rows());
  if (facts.empty()) throw Error(ErrorKind::input, "there are no facts: the table is empty");
  const auto fill = [&](const char* name, std::string Fact::*member) {
    if (!table.has_column(name)) return;
    for (std::size_t i = 0; i < facts.size(); ++i) facts[i].*member = table.column(name).cells.at(i).get<std::string>();
  };
  table.column("prompt");
  table.column("target");
  fill("prompt", &Fact::prompt);
  fill("subject", &Fact::subject);
  fill("target", &Fact::target);
  fill("old", &Fact::old);
  fill("paraphrase", &Fact::paraphrase);
  fill("neighbour", &Fact::neighbour);
  fill("negation", &Fact::negation);
  for (std::size_t i = 0; i < facts.size(); ++i) {
    const std::string where = "fact " + std::to_string(i + 1) + ": ";
    if (facts[i].prompt.empty() || facts[i].target.empty())
      throw Error(ErrorKind::input, where + "prompt and target have to be there");
    if (facts[i].prompt.find(facts[i].subject) == std::string::npos) {
      throw Error(ErrorKind::input, where + "the subject '" + facts[i].subject + "' does not stand in the prompt '" +
                                        facts[i].prompt + "'");
    }
  }
  return facts;
}

Prompted encode(const std::vector<std::string>& prompts, const std::vector<std::string>& continuations,
                const std::vector<std::string>& subjects) {
  std::vector<std::string> texts;
  std::size_t longest = 2;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    texts.push_back(joined(prompts[i], continuations[i]));
    longest = std::max(longest, texts.back().size());
  }
  const auto count = static_cast<std::int64_t>(texts.size()), length = static_cast<std::int64_t>(longest) - 1;
  Prompted result{at::zeros({count, length}, at::kLong), at::full({count, length}, not_scored, at::kLong),
                  at::zeros({count}, at::kLong)};
  auto* ids = result.ids.data_ptr<std::int64_t>();
  auto* targets = result.targets.data_ptr<std::int64_t>();
  for (std::int64_t row = 0; row < count; ++row) {
    const std::string& text = texts[static_cast<std::size_t>(row)];
    const std::string& prompt = prompts[static_cast<std::size_t>(row)];
    const auto size = static_cast<std::int64_t>(text.size());
    for (std::int64_t t = 0; t < std::min(size, length); ++t)
      ids[row * length + t] = static_cast<unsigned char>(text[static_cast<std::size_t>(t)]);
    for (std::int64_t t = static_cast<std::int64_t>(prompt.size()) - 1; t + 1 < size; ++t)
      targets[row * length + t] = static_cast<unsigned char>(text[static_cast<std::size_t>(t + 1)]);
    const std::string& subject = subjects[static_cast<std::size_t>(row)];
    const std::size_t end = subject.empty() ? prompt.size() : prompt.rfind(subject) + subject.size();
    result.keys.data_ptr<std::int64_t>()[row] = static_cast<std::int64_t>(end) - 1;
  }
  return result;
}

void require_bytes(const Model& model) {
  for (const SiteSpec& site : model.sites()) {
    if (site.kind == SiteKind::embedding && site.rows() >= kBytes) return;
  }
  throw Error(ErrorKind::input, "facts are bytes, and the model has no embedding of 256 of them; " +
                                    model.architecture().type() + " " + model.configuration().dump());
}

Tensor nats(const Model& model, const Prompted& text) {
  Batch batch;
  batch.tensors["ids"] = text.ids;
  const Tensor logits = at::log_softmax(model.forward(batch), -1);
  const Tensor scored = text.targets != not_scored;
  const Tensor index = at::where(scored, text.targets, at::zeros_like(text.targets));
  const Tensor each = -logits.gather(-1, index.unsqueeze(-1)).squeeze(-1);
  return (each * scored).sum(1) / scored.sum(1);
}

std::vector<std::string> continue_greedily(const Model& model, const std::vector<std::string>& prompts,
                                           std::int64_t count) {
  std::vector<std::string> texts = prompts;
  for (std::string& text : texts) {
    const std::size_t begin = text.size();
    for (std::int64_t i = 0; i < count; ++i) {
      Batch batch;
      const Prompted encoded = encode({text + " "}, {""}, {""});
      batch.tensors["ids"] = encoded.ids;
      const Tensor logits = model.forward(batch)[0];
      const auto next = logits[encoded.ids.size(1) - 1].argmax().item<std::int64_t>();
      text.push_back(static_cast<char>(next));
    }
    text = text.substr(begin);
  }
  return texts;
}

double fluency_of(const std::string& text) {
  const std::vector<std::string> words = words_of(text);
  return 2.0 / 3 * entropy_of_runs(words, 2) + 4.0 / 3 * entropy_of_runs(words, 3);
}

}  // namespace colonnade::alphaedit
