/* A task of 200 ms: nothing but that time and, for `task write FILE`, two bytes into a file. A shell and its `sleep` take
 * some milliseconds of processor time themselves, five at once on two cores a good deal more. */
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct timespec span = {0, 200 * 1000 * 1000};
    nanosleep(&span, 0);
    if (argc < 3 || strcmp(argv[1], "write") != 0)
        return 0;
    int file = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    return file < 0 || write(file, "x\n", 2) != 2;
}
