#include "trainer/program.h"

int main(int argc, char** argv) { return duet::run_program(argc, argv); }
