#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "colonnade/value.h"

namespace colonnade::host {

// One arm under one seed, with what its metrics gave. Metrics of measured ops stand apart.
struct TrialResult {
  std::string arm;
  std::uint64_t seed = 0;
  Json point = Json::object();
  std::map<std::string, Scalar> scalars;  // "perplexity", "size.stored"
  std::map<std::string, Table> tables;    // "curve"
  std::map<std::string, Json> records;
  std::map<std::string, Scalar> measured;  // scalars of measured ops
  std::map<std::string, Table> measured_tables;
  std::string failure;                   // "" if it succeeded
  std::map<std::string, Hash> contents;  // metric -> content hash of its field
};

// A tensor or a table that the study asked to have as a file.
struct ResultFile {
  std::string path;  // in the run's folder: "files/all/order.npy"
  std::string arm;   // "" of no arm
  std::uint64_t seed = 0;
  bool measured = false;
  std::string source;  // "scan.order"
  Hash content;
  Field field;
};

// A declared group of arms: evaluations by op, had every trial made all of its own, and with what they share made once.
struct SharingRow {
  std::string op;
  int alone = 0, shared = 0;
  double seconds_alone = 0, seconds_shared = 0;  // of one worker after the other
};
struct SharingResult {
  std::string title;
  std::vector<std::string> arms;
  std::string beyond;  // the arm whose nodes do not count, "" none
  std::vector<SharingRow> rows;
};

struct StudyResults {
  std::string study;
  std::string question;
  std::string run_name;
  std::vector<std::string> arm_order;
  std::vector<TrialResult> trials;  // arm by arm, seed by seed
  TrialResult shared;               // values of no arm
  std::vector<ResultFile> files;
  std::vector<SharingResult> sharing;
  Json figures, report;  // as declared
  Json lock;
  std::map<std::string, std::string> content_names;  // of files and folders: the names they had, by SHA-256 of contents
  std::vector<Json> parameter_tables;                // per op used: its schema and the values it had
  std::vector<std::string> notes;                    // what failed, nondeterminism, retries that matter to a reader
};

// Writes comprehensive_results.json, results.csv, RESEARCH_REPORT.md, plots/*.svg and *.png, the files declared, and
// for measured ones measured.csv, plots/measured/, measured_files/ and a report of their own, into `folder`, each file
// atomically. Everything outside the measured parts is a function of the results alone: no dates, durations, ids or
// paths. Returns the table that `run` prints.
std::string write_report(const StudyResults& results, const std::filesystem::path& folder, bool draw_plots);

enum class FigureUse {
  none,   // as where none were to be drawn
  drawn,  // as where gnuplot drew them
  tried,  // drawn here, into a folder that goes again: says what problem there is
};
// What `write_report` writes outside the measured parts and the pictures, by its names in the folder: a function of the
// results but for how the report speaks of figures.
std::map<std::string, std::string> report_texts(const StudyResults& results, FigureUse figures);

}  // namespace colonnade::host
