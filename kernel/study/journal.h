#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "colonnade/json.h"

namespace colonnade::host {

// A journal holds one event a line:
//   {"crc":"<crc32 of the event's text, 8 hex digits>","event":{...}}
// Lines are only appended. A line that was being written when the process ended has a wrong checksum or no end; at the
// end of the file that is expected, anywhere else it is damage.
struct JournalContents {
  std::vector<Json> events;
  std::vector<std::string> damage;  // one sentence a damaged line, naming file and line
  std::uint64_t whole_bytes = 0;    // up to the end of the last whole line
};

// Without the torn end. An absent file is an empty journal. Error(environment) if it cannot be read.
JournalContents read_journal(const std::filesystem::path& file);

// True while a process holds the journal open for writing.
bool is_live(const std::filesystem::path& journal_file);

// The journal of a run that this process executes. Holds an exclusive lock on the file for as long as it lives, so one
// run is executed by one process; the lock ends with the process, however it ends. One thread.
class Journal {
 public:
  // Creates the file or goes on with it, cutting off a torn end. Error(environment) naming the run if another process
  // has it.
  static std::unique_ptr<Journal> open(const std::filesystem::path& file);
  virtual ~Journal() = default;

  virtual const JournalContents& contents() const = 0;  // what it held, and what was appended since
  virtual void append(Json event) = 0;                  // buffered
  virtual void commit() = 0;                            // what was appended is on the disk when it returns
};

}  // namespace colonnade::host
