// `duet search`: for each row of one file the nearest rows of another, by the cosine similarity of their embeddings.
#pragma once

#include "trainer/command_line.h"

namespace duet {

// Results to standard output, query by query: lines "query, rank, id, score" with tabs between them, or with --json an
// object a line, {"query": ID, "row": NUMBER, "results": [{"id": ID, "row": NUMBER, "score": S}, ...]}. Exact. Of a
// side the file's bytes and the embeddings are held, of the scores those of the best rows. Returns the exit code,
// throws as the other commands do.
int search_command(const CommandLine& line);

}  // namespace duet
