#include "commands.h"

#include <replay/src/replay.h>
#include <report/src/report.h>
#include <string.h>

#include "doctor.h"
#include "record.h"
#include "run.h"

const struct command commands[] = {
    {"run", run, "[OPTION ...] [--] PROGRAM [ARGUMENT ...]", "run a program on the libraries",
     run_help},
    {"doctor", doctor, "[--all] [--json] [PROGRAM | PROCESS]",
     "what is loaded and in force here, and what hurts", doctor_help},
    {"record", record, "[OPTION ...] [--] PROGRAM [ARGUMENT ...]",
     "run a program and write a profile of its heap", record_help},
    {"report", report, "[OPTION ...] FILE", "show a profile", report_help},
    {"replay", replay, "[OPTION ...] TRACE", "make the calls of a trace, and measure", replay_help},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct command *command_find(const char *name)
{
    for (const struct command *command = commands; command->name != NULL; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

void command_usage(const struct command *command, FILE *stream)
{
    fprintf(stream, "usage: calloc %s %s\n\n%s", command->name, command->arguments, command->help);
}
