//! Where another machine may write to the same files, our lock is no fence.

use std::{fs, io};

/// Magic numbers of `statfs(2)`: file systems whose files other machines can reach. FUSE is not among them: mostly it is local.
#[cfg(target_os = "linux")]
const NETWORK: [u64; 15] = [
    0x6969,      // NFS
    0x517B,      // SMB
    0xFF53_4D42, // CIFS
    0xFE53_4D42, // SMB 2 and 3
    0x0102_1997, // 9P
    0x00C3_6400, // Ceph
    0x0BD0_0BD0, // Lustre
    0x5346_414F, // AFS
    0x6B41_4653, // AFS (kernel client)
    0x7375_7245, // Coda
    0x0116_1970, // GFS2
    0x7461_636F, // OCFS2
    0x4750_4653, // GPFS
    0x2003_0528, // OrangeFS
    0x1983_0326, // BeeGFS
];

/// Whether a directory lies on a network file system.
#[cfg(target_os = "linux")]
pub(super) fn is_network(directory: &fs::File) -> io::Result<bool> {
    let kind = rustix::io::retry_on_intr(|| rustix::fs::fstatfs(directory))?.f_type;
    Ok(is_network_kind(kind as u64))
}

#[cfg(target_os = "linux")]
fn is_network_kind(kind: u64) -> bool {
    // Only the low 32 bits count: where the field is signed, CIFS comes sign-extended.
    NETWORK.contains(&(kind & 0xFFFF_FFFF))
}

/// Unknown here, so not refused.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_network(_directory: &fs::File) -> io::Result<bool> {
    Ok(false)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::is_network_kind;

    #[test]
    fn known_kinds_are_told_apart() {
        for network in [0x6969, 0xFF53_4D42, 0xFFFF_FFFF_FF53_4D42, 0x0102_1997] {
            assert!(is_network_kind(network), "{network:x}");
        }
        let (ext4, xfs, tmpfs, fuse, overlay) = (0xEF53, 0x5846_5342, 0x0102_1994, 0x6573_5546, 0x794C_7630);
        for local in [ext4, xfs, tmpfs, fuse, overlay] {
            assert!(!is_network_kind(local), "{local:x}");
        }
    }
}
