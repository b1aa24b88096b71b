//! What `stat` shows of files and directories.

use std::time::SystemTime;

use fuser::{FileAttr, FileType, INodeNo};

use crate::config::Ownership;
use crate::tree::Node;

/// Python and others buffer reads by this size, in bytes; a larger one makes reading headers fetch megabytes.
const BLOCK_SIZE: u32 = 16 << 10;

impl Ownership {
    /// The attributes of an inode. Directories have the time of the mount.
    pub fn attributes(&self, ino: u64, node: &Node, mounted: SystemTime) -> FileAttr {
        let (size, time, perm, nlink) = match node {
            Node::Directory => (0, mounted, 0o555, 2),
            Node::File(object) => (object.size(), object.meta.last_modified, 0o444, 1),
        };
        FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: kind(node),
            perm: perm & !self.umask,
            nlink,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: BLOCK_SIZE,
            flags: 0,
        }
    }

    /// What stands for a name that does not exist.
    pub fn no_attributes(&self) -> FileAttr {
        self.attributes(0, &Node::Directory, SystemTime::UNIX_EPOCH)
    }
}

/// The type of a node.
pub fn kind(node: &Node) -> FileType {
    match node {
        Node::Directory => FileType::Directory,
        Node::File(_) => FileType::RegularFile,
    }
}
