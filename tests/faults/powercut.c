/* Cuts the power of a mounted ext4 filesystem: everything that was not synced is dropped, the journal is not flushed,
 * and every later write fails with EIO until it is unmounted and mounted again.
 *
 *   cc -O2 -o powercut powercut.c && ./powercut DIR        (root)
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

#ifndef EXT4_IOC_SHUTDOWN
#define EXT4_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#endif
#define WITHOUT_FLUSHING_THE_LOG 2

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: powercut DIR\n");
        return 2;
    }
    int dir = open(arguments[1], O_RDONLY | O_DIRECTORY);
    if (dir < 0) {
        perror(arguments[1]);
        return 1;
    }
    uint32_t how = WITHOUT_FLUSHING_THE_LOG;
    if (ioctl(dir, EXT4_IOC_SHUTDOWN, &how) != 0) {
        perror("EXT4_IOC_SHUTDOWN");
        return 1;
    }
    return 0;
}
