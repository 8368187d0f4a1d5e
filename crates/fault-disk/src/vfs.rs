//! The VFS through which SQLite reaches the disks: `NUMBER/FILE` names a file of one of them.
//!
//! Each database is used by one connection at a time, so locks are granted and the shared memory of WAL mode is ordinary memory,
//! gone when the connection is. Only the calls of SQLite itself are unsafe here; every one is answered by [`crate::disk`].
#![expect(unsafe_code, reason = "a VFS is a table of C functions")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use rusqlite::ffi;

use crate::disk::{Failed, SECTOR, State, lock};

/// What the VFS is called in SQLite.
pub(crate) const NAME: &CStr = c"aeroedge-fault-disk";

static DISKS: Mutex<BTreeMap<u64, Arc<Mutex<State>>>> = Mutex::new(BTreeMap::new());

/// An open file, in memory that SQLite provides. The first field is what SQLite knows of it.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    /// From a box; freed when SQLite closes the file.
    file: *mut Open,
}

struct Open {
    disk: Arc<Mutex<State>>,
    name: String,
    delete_at_close: bool,
    /// The WAL index, in the pages that SQLite asked for.
    shared_memory: Vec<Box<[u64]>>,
}

/// Makes a disk reachable under its number.
pub(crate) fn attach(number: u64, state: Arc<Mutex<State>>) {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(register);
    disks().insert(number, state);
}

/// The disk can be opened no more; open files go on.
pub(crate) fn forget(number: u64) {
    disks().remove(&number);
}

fn disks() -> std::sync::MutexGuard<'static, BTreeMap<u64, Arc<Mutex<State>>>> {
    DISKS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn register() {
    // Lives as long as the process, as SQLite demands.
    let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
        iVersion: 1,
        szOsFile: size_of::<Handle>() as c_int,
        mxPathname: 512,
        pNext: ptr::null_mut(),
        zName: NAME.as_ptr(),
        pAppData: ptr::null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_path_name),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: None,
        xCurrentTimeInt64: None,
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }));
    // SAFETY: the structure is complete for its version and never moves or ends.
    let outcome = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
    assert_eq!(outcome, ffi::SQLITE_OK, "SQLite takes the VFS");
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(grant),
    xUnlock: Some(grant),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shared_memory_map),
    xShmLock: Some(shared_memory_lock),
    xShmBarrier: Some(shared_memory_barrier),
    xShmUnmap: Some(shared_memory_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Which disk and which of its files a path names.
fn find(path: &str) -> Option<(Arc<Mutex<State>>, String)> {
    let (number, name) = path.split_once('/')?;
    let disk = disks().get(&number.parse().ok()?).cloned()?;
    Some((disk, name.to_owned()))
}

/// # Safety
/// `path` is null or a C string.
unsafe fn find_c(path: *const c_char) -> Option<(Arc<Mutex<State>>, String)> {
    if path.is_null() {
        return None;
    }
    // SAFETY: a C string, says the caller.
    find(unsafe { CStr::from_ptr(path) }.to_str().ok()?)
}

fn code(outcome: Result<(), Failed>, otherwise: c_int) -> c_int {
    match outcome {
        Ok(()) => ffi::SQLITE_OK,
        Err(Failed::Full) => ffi::SQLITE_FULL,
        Err(Failed::Crashed | Failed::Missing) => otherwise,
    }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    static TEMPORARY: AtomicU64 = AtomicU64::new(0);
    let handle = file.cast::<Handle>();
    // SAFETY: SQLite hands memory of szOsFile bytes; without methods it will not call close.
    unsafe { (*handle).base.pMethods = ptr::null() };
    let (disk, name) = if path.is_null() {
        let number = TEMPORARY.fetch_add(1, Ordering::Relaxed);
        (Arc::default(), format!("temporary {number}"))
    } else {
        // SAFETY: SQLite passes a C string.
        match unsafe { find_c(path) } {
            Some(found) => found,
            None => return ffi::SQLITE_CANTOPEN,
        }
    };
    {
        let mut state = lock(&disk);
        let may_create = path.is_null() || flags & ffi::SQLITE_OPEN_CREATE != 0;
        if !state.exists(&name) && (!may_create || state.create(&name).is_err()) {
            return ffi::SQLITE_CANTOPEN;
        }
    }
    let opened = Box::new(Open {
        disk,
        name,
        delete_at_close: flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0,
        shared_memory: Vec::new(),
    });
    // SAFETY: as above; flags_out is null or valid.
    unsafe {
        (*handle).file = Box::into_raw(opened);
        (*handle).base.pMethods = &raw const METHODS;
        if !flags_out.is_null() {
            *flags_out = flags;
        }
    }
    ffi::SQLITE_OK
}

/// # Safety
/// `file` was opened here and is not closed.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Open {
    // SAFETY: the caller's promise; SQLite uses a file from one thread at a time.
    unsafe { &mut *(*file.cast::<Handle>()).file }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file it opened, once.
    let open = unsafe { Box::from_raw((*file.cast::<Handle>()).file) };
    if open.delete_at_close {
        // A temporary file: whether it can still be deleted is nobody's concern.
        let _ = lock(&open.disk).delete(&open.name);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    target: *mut c_void,
    length: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: SQLite passes its own open file and a buffer of that length.
    let (open, target) = unsafe {
        (
            opened(file),
            std::slice::from_raw_parts_mut(target.cast::<u8>(), length as usize),
        )
    };
    match lock(&open.disk).read(&open.name, offset as usize, target) {
        Ok(there) if there == target.len() => ffi::SQLITE_OK,
        Ok(_) => ffi::SQLITE_IOERR_SHORT_READ,
        Err(_) => ffi::SQLITE_IOERR_READ,
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    source: *const c_void,
    length: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: as for reading.
    let (open, source) = unsafe {
        (
            opened(file),
            std::slice::from_raw_parts(source.cast::<u8>(), length as usize),
        )
    };
    let outcome = lock(&open.disk).write(&open.name, offset as usize, source);
    code(outcome, ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: i64) -> c_int {
    // SAFETY: SQLite's own open file.
    let open = unsafe { opened(file) };
    let outcome = lock(&open.disk).truncate(&open.name, length as usize);
    code(outcome, ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite's own open file.
    let open = unsafe { opened(file) };
    let outcome = lock(&open.disk).sync(&open.name);
    code(outcome, ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: SQLite's own open file, and a place for the number.
    let (open, size) = unsafe { (opened(file), &mut *size) };
    match lock(&open.disk).length(&open.name) {
        Ok(length) => {
            *size = length as i64;
            ffi::SQLITE_OK
        }
        Err(_) => ffi::SQLITE_IOERR_FSTAT,
    }
}

unsafe extern "C" fn grant(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(
    _: *mut ffi::sqlite3_file,
    is_reserved: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes a place for the answer.
    unsafe { *is_reserved = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    SECTOR as c_int
}

/// Nothing is promised: sectors are written in any order, and the neighbours of a torn one are not spared by promise.
unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    0
}

unsafe extern "C" fn shared_memory_map(
    file: *mut ffi::sqlite3_file,
    page: c_int,
    page_size: c_int,
    extend: c_int,
    place: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite's own open file, and a place for the pointer.
    let (open, place) = unsafe { (opened(file), &mut *place) };
    let page = page as usize;
    while extend != 0 && open.shared_memory.len() <= page {
        let words = (page_size as usize).div_ceil(size_of::<u64>());
        open.shared_memory.push(vec![0; words].into_boxed_slice());
    }
    *place = open
        .shared_memory
        .get_mut(page)
        .map_or(ptr::null_mut(), |memory| memory.as_mut_ptr().cast());
    ffi::SQLITE_OK
}

unsafe extern "C" fn shared_memory_lock(
    _: *mut ffi::sqlite3_file,
    _: c_int,
    _: c_int,
    _: c_int,
) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn shared_memory_barrier(_: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(Ordering::SeqCst);
}

unsafe extern "C" fn shared_memory_unmap(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite's own open file; it forgets the pointers it was given.
    unsafe { opened(file) }.shared_memory.clear();
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, path: *const c_char, synced: c_int) -> c_int {
    // SAFETY: SQLite passes a C string.
    let Some((disk, name)) = (unsafe { find_c(path) }) else {
        return ffi::SQLITE_IOERR_DELETE;
    };
    let mut state = lock(&disk);
    if !state.exists(&name) {
        return ffi::SQLITE_IOERR_DELETE_NOENT;
    }
    let mut outcome = state.delete(&name);
    if synced != 0 && outcome.is_ok() {
        outcome = state.sync(&name);
    }
    code(outcome, ffi::SQLITE_IOERR_DELETE)
}

unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    _: c_int,
    answer: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes a C string and a place for the answer.
    unsafe {
        *answer = c_int::from(find_c(path).is_some_and(|(disk, name)| lock(&disk).exists(&name)));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path_name(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    room: c_int,
    target: *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes a C string and a buffer of `room` bytes.
    unsafe {
        let path = CString::from(CStr::from_ptr(path));
        let bytes = path.as_bytes_with_nul();
        if bytes.len() > room as usize {
            return ffi::SQLITE_CANTOPEN;
        }
        ptr::copy_nonoverlapping(bytes.as_ptr().cast(), target, bytes.len());
    }
    ffi::SQLITE_OK
}

/// SQLite asks its default VFS for randomness; this one has none to give.
unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}

unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    microseconds
}

unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, days: *mut f64) -> c_int {
    // SAFETY: SQLite passes a place for the number.
    unsafe { *days = 2_461_000.5 };
    ffi::SQLITE_OK
}
