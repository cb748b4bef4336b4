/* windows.c: the operating system of Windows (os.h, and the clock, terminal and Ctrl-C of system.h). Texts
 * are UTF-8 everywhere but in its calls, which take UTF-16.
 *
 *   system.c --os_*--> the calls of Windows that end in W
 *
 * Not here: what is the same with every system (system.c). */
#include "files/system.h"

#if defined(_WIN32) && !defined(SAEURON_PLAIN_C) && !defined(SAEURON_BARE)

#include "files/os.h"

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>
#include <shellapi.h>

/* ---- texts, errors, handles ---- */

enum { WIDE = 1088 }; /* of the longest path, o->temporary */

/* path into out; "", which names nothing, when it is no UTF-8 or too long. */
static const wchar_t *wide(const char *path, wchar_t out[WIDE])
{
    if (!MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, out, WIDE))
        out[0] = 0;
    return out;
}

/* text as UTF-8 in memory of its own; or NULL. */
static char *narrow(const wchar_t *text)
{
    const int n = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
    char *out = n > 0 ? malloc((size_t)n) : NULL;
    if (out)
        WideCharToMultiByte(CP_UTF8, 0, text, -1, out, n, NULL, NULL);
    return out;
}

/* The last error of a call of Windows, as errno. */
static void set_errno(void)
{
    static const struct { DWORD error; int number; } known[] = {
        { ERROR_FILE_NOT_FOUND, ENOENT }, { ERROR_PATH_NOT_FOUND, ENOENT }, { ERROR_INVALID_NAME, ENOENT },
        { ERROR_INVALID_DRIVE, ENOENT }, { ERROR_BAD_NETPATH, ENOENT }, { ERROR_DISK_FULL, ENOSPC },
        { ERROR_HANDLE_DISK_FULL, ENOSPC }, { ERROR_ACCESS_DENIED, EACCES },
        { ERROR_SHARING_VIOLATION, EACCES }, { ERROR_LOCK_VIOLATION, EACCES },
        { ERROR_USER_MAPPED_FILE, EACCES }, { ERROR_WRITE_PROTECT, EROFS }, { ERROR_FILE_EXISTS, EEXIST },
        { ERROR_TOO_MANY_OPEN_FILES, EMFILE }, { ERROR_NOT_ENOUGH_MEMORY, ENOMEM },
    };
    const DWORD error = GetLastError();
    errno = EIO;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].error == error)
            errno = known[i].number;
}

static bool is_dir(const wchar_t *path)
{
    const DWORD a = GetFileAttributesW(path);
    return a != INVALID_FILE_ATTRIBUTES && (a & FILE_ATTRIBUTE_DIRECTORY);
}

/* h as a stream, which closes it; or NULL, and h is closed. */
static FILE *stream_of(HANDLE h, const char *mode)
{
    const int fd = _open_osfhandle((intptr_t)h, _O_BINARY);
    FILE *f = fd >= 0 ? _fdopen(fd, mode) : NULL;
    if (fd < 0)
        CloseHandle(h);
    else if (!f)
        _close(fd);
    return f;
}

/* ---- files in ---- */

/* The handle stays open as long as the bytes are mapped (stamp[0]): nobody can write to the file. */
int os_open(io_file *f, FILE **in, size_t *most, saeuron_error *err)
{
    wchar_t path[WIDE];
    LARGE_INTEGER size;
    HANDLE map = NULL;
    HANDLE h = CreateFileW(wide(f->path, path), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, NULL,
                           OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (h == INVALID_HANDLE_VALUE) {
        set_errno();
        return is_dir(path) ? fail(err, SAEURON_EIO, "%s: is a folder, a file was expected", f->path)
                            : read_failed(f->path, err);
    }
    if (GetFileType(h) != FILE_TYPE_DISK)
        *most = STREAM_MOST;
    else if (GetFileSizeEx(h, &size) && size.QuadPart > 0 && (uint64_t)size.QuadPart <= SIZE_MAX)
        map = CreateFileMappingW(h, NULL, PAGE_READONLY, 0, 0, NULL);
    if (map) {
        f->data = MapViewOfFile(map, FILE_MAP_READ, 0, 0, 0);
        CloseHandle(map);
    }
    if (f->data) {
        f->size = (size_t)size.QuadPart;
        f->origin = IO_MAPPED;
        f->stamp[0] = (uintptr_t)h;
        return SAEURON_OK;
    }
    *in = stream_of(h, "rb");
    return *in ? SAEURON_OK : read_failed(f->path, err);
}

void os_unmap(io_file *f)
{
    UnmapViewOfFile(f->data);
    CloseHandle((HANDLE)(uintptr_t)f->stamp[0]);
}

bool os_written(const io_file *f)
{
    (void)f;
    return false;
}

void os_release(const io_file *f) { (void)f; }
void os_expect(void *p, size_t n) { (void)p, (void)n; }

bool os_absent(const char *path)
{
    wchar_t name[WIDE];
    if (GetFileAttributesW(wide(path, name)) != INVALID_FILE_ATTRIBUTES)
        return false;
    set_errno();
    return errno == ENOENT;
}

/* ---- files out ---- */

int os_kind(const char *path)
{
    wchar_t name[WIDE];
    if (is_dir(wide(path, name)))
        return OS_FOLDER;
    HANDLE h = CreateFileW(name, 0, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                           OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
    if (h == INVALID_HANDLE_VALUE)
        return OS_FILE;
    const int kind = GetFileType(h) == FILE_TYPE_DISK ? OS_FILE : OS_DEVICE;
    CloseHandle(h);
    return kind;
}

/* What a killed process left is removed, be it a link; what a living one writes is open, shared with nobody,
 * and stays. */
FILE *os_create(const char *path, bool fresh)
{
    wchar_t name[WIDE];
    wide(path, name);
    if (!fresh)
        return _wfopen(name, L"wb");
    DeleteFileW(name);
    HANDLE h = CreateFileW(name, GENERIC_WRITE, 0, NULL, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
    if (h == INVALID_HANDLE_VALUE) {
        set_errno();
        return NULL;
    }
    FILE *f = stream_of(h, "wb");
    if (!f)
        DeleteFileW(name);
    return f;
}

int os_sync(FILE *f) { return _commit(_fileno(f)); }

/* What is open cannot be renamed, so closing comes first. */
int os_finish(FILE *f, const char *from, const char *to)
{
    wchar_t old[WIDE], new[WIDE];
    if (f && fclose(f) != 0 && to)
        return -1;
    wide(from, old);
    if (to ? MoveFileExW(old, wide(to, new), MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)
           : DeleteFileW(old))
        return 0;
    set_errno();
    return -1;
}

/* Folders above it that exist, drives and servers refuse to be made; the last one tells. */
int io_make_dir(const char *path, saeuron_error *err)
{
    wchar_t part[WIDE];
    wide(path, part);
    for (wchar_t *p = part; *p; p++) {
        const wchar_t c = *p;
        if (c != L'/' && c != L'\\')
            continue;
        *p = 0;
        CreateDirectoryW(part, NULL);
        *p = c;
    }
    if (!*path || CreateDirectoryW(part, NULL) || is_dir(part))
        return SAEURON_OK;
    set_errno();
    return GetFileAttributesW(part) != INVALID_FILE_ATTRIBUTES ?
        fail(err, SAEURON_EIO, "%s: is a file, a folder was expected", path) :
        fail(err, SAEURON_EIO, "%s: the folder cannot be made: %s", path, strerror(errno));
}

/* ---- clock, terminal, Ctrl-C, another process ---- */

double os_seconds(void)
{
    LARGE_INTEGER now, second;
    return QueryPerformanceCounter(&now) && QueryPerformanceFrequency(&second) ?
        (double)now.QuadPart / (double)second.QuadPart : 0;
}

double os_processor_seconds(void)
{
    FILETIME start, end, kernel, user; /* in 100 ns */
    if (!GetProcessTimes(GetCurrentProcess(), &start, &end, &kernel, &user))
        return 0;
    return 1e-7 * ((double)kernel.dwLowDateTime + (double)user.dwLowDateTime) +
        1e-7 * 4294967296.0 * ((double)kernel.dwHighDateTime + (double)user.dwHighDateTime);
}

int os_terminal_width(void)
{
    CONSOLE_SCREEN_BUFFER_INFO c;
    return GetConsoleScreenBufferInfo(GetStdHandle(STD_ERROR_HANDLE), &c) ?
        c.srWindow.Right - c.srWindow.Left + 1 : 0;
}

int os_cores(void)
{
    SYSTEM_INFO s;
    GetSystemInfo(&s);
    return s.dwNumberOfProcessors > 0 && s.dwNumberOfProcessors < 100000 ? (int)s.dwNumberOfProcessors : 1;
}

/* Globals, because handlers can reach nothing else. */
static UINT codes;                  /* what the terminal's bytes meant before */
static volatile LONG interrupted;
static void (*lost_file)(const char *path);

static void restore_codes(void) { SetConsoleOutputCP(codes); }

/* The C library keeps 0 to 2 to itself, also where the caller closed them. */
void os_open_standard(void)
{
    for (int fd = 0; fd <= 2; fd++)
        _setmode(fd, _O_BINARY);
    setvbuf(stderr, NULL, _IOFBF, 4096); /* else mingw's fprintf writes it letter by letter */
    codes = GetConsoleOutputCP();
    if (codes && SetConsoleOutputCP(CP_UTF8))
        atexit(restore_codes);
}

char **os_arguments(int *argc, char **argv)
{
    wchar_t **given = CommandLineToArgvW(GetCommandLineW(), argc), *variables = GetEnvironmentStringsW();
    char **list = given ? calloc((size_t)*argc + 1, sizeof *list) : NULL, *text;
    (void)argv;
    for (int i = 0; list && i < *argc; i++)
        if (!(list[i] = narrow(given[i])))
            return NULL;
    for (wchar_t *v = variables; v && *v; v += wcslen(v) + 1)
        if ((text = narrow(v)) != NULL) {
            _putenv(text);
            free(text);
        }
    FreeEnvironmentStringsW(variables);
    LocalFree(given);
    return list;
}

bool os_interrupted(void) { return interrupted != 0; }
bool os_piped(void) { return GetFileType(GetStdHandle(STD_OUTPUT_HANDLE)) == FILE_TYPE_PIPE; }

/* A thread of the system's runs it. When its window is closed the program has some seconds until this
 * returns; main returns before. */
static BOOL WINAPI on_interrupt(DWORD event)
{
    const bool first = InterlockedExchange(&interrupted, 1) == 0;
    if (event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT)
        Sleep(INFINITE);
    return first; /* the second one ends the program */
}

/* A mapped file cannot become shorter here; its disk may go. */
static LONG WINAPI on_lost_page(EXCEPTION_POINTERS *e)
{
    if (e->ExceptionRecord->ExceptionCode == (DWORD)EXCEPTION_IN_PAGE_ERROR)
        lost_file("");
    return EXCEPTION_CONTINUE_SEARCH;
}

void os_catch_signals(void (*lost)(const char *path))
{
    lost_file = lost;
    AddVectoredExceptionHandler(1, on_lost_page);
    SetConsoleCtrlHandler(on_interrupt, TRUE);
}

int os_limit_memory(size_t megabytes, saeuron_error *err)
{
    return fail(err, SAEURON_EUSAGE, "no limit of %zu MB can be set on Windows", megabytes);
}

long os_load_start(void) { return 0; }
void os_load_stop(long process) { (void)process; }

#endif
